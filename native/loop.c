/* The loop over the items of a claim: what a worker spends its life in.
 *
 * Items come from a list or straight from a column, results go into a column as long as they belong into one, and
 * into a list from then on: a value that is made, used and written while it is in the nearest cache costs half of one
 * that waits in a list. The function is the user's and may do anything to the lists, so each pass holds what it uses
 * and looks at their length again. An exception goes on as it is: `state` tells how far the loop came.
 */
#include "functions.h" /* Python.h comes first: it has the C library declare POSIX */

#include "atomics.h"
#include "calls.h"
#include "item.h"

enum { SLOT_JOB = 0, SLOT_INDEX = 1, SLOT_CANCELLED = 4, SLOT_WORDS = 8 };

struct loop {
    PyObject *function;
    PyObject *items;             /* a list; NULL where `column` is read */
    struct column_reader column;
    PyObject *results;
    struct column_writer packed; /* results, until one does not belong there */
    bool is_packing;
    int64_t *slot;
    uint64_t index; /* of the item at position 0; wraps around instead of overflowing */
    struct pace pace;
};

static bool is_cancelled(const int64_t *slot)
{
    return word_load(slot + SLOT_CANCELLED) == word_load(slot + SLOT_JOB);
}

/* A new reference: whoever else holds the item, the list may let go of it. NULL: the list has been shortened, or
 * an exception. */
INLINE PyObject *next_item(struct loop *loop, Py_ssize_t at)
{
    if (!loop->items)
        return take_kind(&loop->column, loop->column.kind, at);
    PyObject *item = at < PyList_Size(loop->items) ? PyList_GetItem(loop->items, at) : NULL;
    Py_XINCREF(item);
    return item;
}

INLINE bool keep(struct loop *loop, PyObject *result)
{
    if (loop->is_packing && column_put(&loop->packed, result) == PUT_DONE)
        return true;
    loop->is_packing = false;
    return PyList_Append(loop->results, result) == 0;
}

INLINE bool call_one(struct loop *loop, Py_ssize_t at, PyObject *item)
{
    word_store(loop->slot + SLOT_INDEX, (int64_t)(loop->index + (uint64_t)at));
    PyObject *result = call_with(loop->function, item);
    Py_DECREF(item);
    bool is_kept = result && keep(loop, result);
    Py_XDECREF(result);
    return is_kept;
}

/* Whether the loop ends before the next item: 1, 0, or -1 for an exception. A function in C does not look for
 * signals, so the loop does; only while there is a next item, which an exception is taken to be of. */
INLINE int is_ending(struct loop *loop)
{
    if (is_cancelled(loop->slot))
        return 1;
    if (loop->pace.left > 0)
        return 0;
    return pace_is_over(&loop->pace) ? 1 : PyErr_CheckSignals();
}

/* Runs items from `at` on; the position of the next, or of that which raised. */
static Py_ssize_t run_loop(struct loop *loop, Py_ssize_t at, Py_ssize_t stop)
{
    for (; at < stop; at++) {
        if (is_ending(loop))
            return at;
        PyObject *item = next_item(loop, at);
        if (!item || !call_one(loop, at, item))
            return at;
        loop->pace.left--;
    }
    return at;
}

enum { STATE_AT, STATE_KIND, STATE_NBYTES, STATE_COUNT, STATE_WORDS };

/* The items, a list or the column (kind, buffer, offset, nbytes, count); the column's buffer stays open in `room`. */
static bool take_items(struct loop *loop, struct room *room, PyObject *items, int64_t at)
{
    int64_t kind, nbytes, count;
    if (!PyTuple_CheckExact(items)) {
        loop->items = items;
        return take_list(items, "items");
    }
    if (PyTuple_Size(items) != 5) {
        PyErr_SetString(PyExc_ValueError, "a column is (kind, buffer, offset, nbytes, count)");
        return false;
    }
    if (!take_int(PyTuple_GetItem(items, 0), &kind) || !take_int(PyTuple_GetItem(items, 4), &count) ||
        !room_open(room, PyTuple_GetItem(items, 1), PyTuple_GetItem(items, 2), false))
        return false;
    if (take_between(PyTuple_GetItem(items, 3), "nbytes", 0, room->nbytes, &nbytes) &&
        column_read(&loop->column, kind, room->at, nbytes, count, at))
        return true;
    PyBuffer_Release(&room->view);
    return false;
}

/* Where results are packed, None for nowhere; its buffer stays open in `room`. */
static bool take_room(struct loop *loop, struct room *room, PyObject *buffer, PyObject *offset, int64_t most)
{
    loop->is_packing = buffer != Py_None;
    if (!loop->is_packing)
        return true;
    if (!room_open(room, buffer, offset, true))
        return false;
    loop->packed = column_write(room->at, room->nbytes, most);
    return true;
}

static void run(struct loop *loop, int64_t *state, int64_t at, int64_t stop)
{
    state[STATE_AT] = run_loop(loop, at, stop);
    state[STATE_NBYTES] = column_end(&loop->packed);
    state[STATE_COUNT] = loop->packed.count;
    state[STATE_KIND] = loop->packed.count ? loop->packed.kind : COLUMN_NOT;
}

static Py_ssize_t last(const struct loop *loop, int64_t stop)
{
    int64_t size = loop->items ? PyList_Size(loop->items) : loop->column.count;
    return stop < size ? stop : size;
}

FUNCTION(loop_call_each)
{
    struct words slot, state;
    struct room source = {.nbytes = 0}, sink = {.nbytes = 0};
    int64_t at, stop, index, until;
    struct loop loop = {.items = NULL, .pace = {.stride = 1, .left = 1}};
    if (!take_count("call_each", given, 11) || !take_list(arguments[4], "results") ||
        !take_between(arguments[2], "at", 0, PY_SSIZE_T_MAX, &at) ||
        !take_between(arguments[3], "stop", 0, PY_SSIZE_T_MAX, &stop) || !take_int(arguments[6], &index) ||
        !take_int(arguments[7], &until) || !words_open(&slot, arguments[5], SLOT_WORDS))
        return NULL;
    loop.function = arguments[0];
    loop.results = arguments[4];
    loop.slot = slot.at;
    loop.index = (uint64_t)index;
    loop.pace.until = until;
    if (words_open(&state, arguments[10], STATE_WORDS)) {
        if (take_items(&loop, &source, arguments[1], at)) {
            stop = last(&loop, stop);
            if (take_room(&loop, &sink, arguments[8], arguments[9], stop > at ? stop - at : 0))
                run(&loop, state.at, at, stop);
        }
        PyBuffer_Release(&state.view);
    }
    if (source.view.obj)
        PyBuffer_Release(&source.view);
    if (sink.view.obj)
        PyBuffer_Release(&sink.view);
    PyBuffer_Release(&slot.view);
    if (PyErr_Occurred())
        return NULL;
    RETURN_NONE;
}
