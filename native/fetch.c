/* Reading another process's memory: where items lie, and their bytes. process_vm_readv(2).
 *
 * The kernel checks every address: what is not there, or not allowed, is an OSError and never a crash.
 */
#define _GNU_SOURCE
#include "functions.h" /* Python.h comes first: it has the C library declare POSIX */

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>

enum { MOST_PIECES = 64 }; /* of one system call, which takes 1024 at the most */

/* --- in the process that has the items ---------------------------------------------------------- */

static bool locate(PyObject *item, int64_t *place)
{
    Py_buffer view;
    if (PyObject_GetBuffer(item, &view, PyBUF_SIMPLE) < 0)
        return false;
    place[0] = (int64_t)(intptr_t)view.buf;
    place[1] = view.len;
    PyBuffer_Release(&view);
    return true;
}

FUNCTION(fetch_locate)
{
    struct words words;
    int64_t at;
    if (!take_count("locate", given, 3) || !take_list(arguments[0], "items") || !words_open(&words, arguments[1], 0))
        return NULL;
    bool is_done = take_between(arguments[2], "at", 0, words.count, &at);
    Py_ssize_t size = PyList_Size(arguments[0]);
    if (is_done && size > (words.count - at) / 2) {
        PyErr_SetString(PyExc_ValueError, "the buffer has no room for the places of all items");
        is_done = false;
    }
    for (Py_ssize_t index = 0; is_done && index < size; index++) /* no code of Python runs: types are plain */
        is_done = locate(PyList_GetItem(arguments[0], index), words.at + at + 2 * index);
    PyBuffer_Release(&words.view);
    if (!is_done)
        return NULL;
    RETURN_NONE;
}

/* Yama lets a process be read by its ancestors only, and by whom it admits with theirs. Elsewhere this does nothing. */
FUNCTION(fetch_admit)
{
    int64_t pid;
    if (!take_count("admit", given, 1) || !take_int(arguments[0], &pid))
        return NULL;
    prctl(PR_SET_PTRACER, (unsigned long)pid, 0, 0, 0);
    RETURN_NONE;
}

/* --- in the process that reads them ------------------------------------------------------------- */

struct fetch {
    pid_t pid;
    const int64_t *places; /* address and length of each piece */
    int64_t count;
    uint8_t *to;
    int64_t room;
};

/* The next pieces, as many as one call takes; the first of them without its first `skip` bytes. */
static size_t list_pieces(const struct fetch *fetch, int64_t first, int64_t skip, struct iovec *pieces)
{
    size_t listed = 0;
    for (; listed < MOST_PIECES && first + (int64_t)listed < fetch->count; listed++, skip = 0) {
        const int64_t *place = fetch->places + 2 * (first + (int64_t)listed);
        pieces[listed].iov_base = (void *)(intptr_t)(place[0] + skip);
        pieces[listed].iov_len = (size_t)(place[1] - skip);
    }
    return listed;
}

/* Bytes read by one call; at least one, else -1 and errno. */
static int64_t read_some(const struct fetch *fetch, int64_t first, int64_t skip, int64_t done)
{
    struct iovec pieces[MOST_PIECES], room = {fetch->to + done, (size_t)(fetch->room - done)};
    size_t listed = list_pieces(fetch, first, skip, pieces);
    ssize_t got = process_vm_readv(fetch->pid, &room, 1, pieces, listed, 0);
    if (got == 0)
        errno = EFAULT;
    return got > 0 ? got : -1;
}

/* 0, or an errno. The lengths have been checked: none is negative, and all together fill the room. */
static int read_all(const struct fetch *fetch)
{
    int64_t first = 0, skip = 0;
    for (int64_t done = 0; done < fetch->room;) {
        int64_t got = read_some(fetch, first, skip, done);
        if (got < 0)
            return errno;
        done += got;
        for (skip += got; first < fetch->count && skip >= fetch->places[2 * first + 1]; first++)
            skip -= fetch->places[2 * first + 1];
    }
    return 0;
}

static bool fetch(const struct fetch *fetch)
{
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = read_all(fetch);
    Py_END_ALLOW_THREADS
    if (!error)
        return true;
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);
    return false;
}

static bool is_filled(const struct fetch *fetch)
{
    int64_t left = fetch->room;
    for (int64_t index = 0; index < fetch->count; index++) {
        int64_t nbytes = fetch->places[2 * index + 1];
        if (nbytes < 0 || nbytes > left)
            return false;
        left -= nbytes;
    }
    return left == 0;
}

FUNCTION(fetch_fetch)
{
    struct words words;
    struct room room;
    int64_t pid, at, count;
    if (!take_count("fetch", given, 5) || !take_int(arguments[0], &pid) || !words_open(&words, arguments[1], 0))
        return NULL;
    bool is_done = false;
    PyObject *zero = PyLong_FromLong(0);
    if (zero && take_between(arguments[2], "at", 0, words.count, &at) &&
        take_between(arguments[3], "count", 0, (words.count - at) / 2, &count) &&
        room_open(&room, arguments[4], zero, true)) {
        struct fetch all = {(pid_t)pid, words.at + at, count, room.at, room.nbytes};
        if (is_filled(&all))
            is_done = fetch(&all);
        else
            PyErr_SetString(PyExc_ValueError, "the pieces do not fill the room");
        PyBuffer_Release(&room.view);
    }
    Py_XDECREF(zero);
    PyBuffer_Release(&words.view);
    if (!is_done)
        return NULL;
    RETURN_NONE;
}

/* A new bytes object is nobody else's yet, and may be written to. */
FUNCTION(fetch_bytes)
{
    int64_t pid, place[2];
    if (!take_count("fetch_bytes", given, 3) || !take_int(arguments[0], &pid) || !take_int(arguments[1], place) ||
        !take_between(arguments[2], "nbytes", 0, PY_SSIZE_T_MAX, place + 1))
        return NULL;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, place[1]);
    if (!bytes)
        return NULL;
    struct fetch one = {(pid_t)pid, place, 1, (uint8_t *)PyBytes_AsString(bytes), place[1]};
    if (!fetch(&one))
        Py_CLEAR(bytes);
    return bytes;
}
