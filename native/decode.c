/* From a column to new values in a list. Whatever the bytes are, the end is a full list or an exception. */
#define _GNU_SOURCE
#include "functions.h" /* Python.h comes first: it has the C library declare POSIX */

#include "item.h"

#include <sys/mman.h>

void column_refuse(void)
{
    PyErr_SetString(PyExc_ValueError, "the bytes are no column of that kind and length");
}

/* Linux 5.14; an older kernel refuses it, and the pages come one by one. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* All pages at once: to have each of them come at its first write takes twice the time of the copy. */
PyObject *column_long_bytes(const char *bytes, int64_t size)
{
    const uintptr_t page = 4096;
    PyObject *object = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (!object)
        return NULL;
    char *to = PyBytes_AsString(object);
    uintptr_t first = ((uintptr_t)to + page - 1) / page * page, last = ((uintptr_t)to + (uintptr_t)size) / page * page;
    madvise((void *)first, last - first, MADV_POPULATE_WRITE);
    memcpy(to, bytes, (size_t)size);
    return object;
}

static bool seek(struct text_reader *text, int64_t first)
{
    uint32_t begin = 0;
    if (first > 0)
        memcpy(&begin, text->table + sizeof begin * (size_t)(first - 1), sizeof begin);
    __asm__("" : "+r"(begin)); /* read once: as in text_next */
    text->table += sizeof begin * (size_t)first;
    text->begin = begin;
    return begin <= text->size;
}

bool column_read(struct column_reader *reader, int64_t kind, const uint8_t *at, int64_t nbytes, int64_t count,
                 int64_t first)
{
    bool may_be = kind == (int)kind && column_may_be((int)kind, nbytes, count) && first >= 0 && first <= count;
    *reader = (struct column_reader){.kind = (int)kind, .count = count, .at = at};
    if (may_be && column_width((int)kind) < 0) {
        reader->text = text_read(at, nbytes, count);
        may_be = seek(&reader->text, first);
    }
    if (!may_be)
        column_refuse();
    return may_be;
}

/* A list's former item is let go of here, and could run code that makes the list shorter: then this fails. */
INLINE bool take_all(struct column_reader *reader, int kind, PyObject *list, Py_ssize_t at)
{
    for (int64_t index = 0; index < reader->count; index++) {
        PyObject *value = take_kind(reader, kind, index);
        if (!value || PyList_SetItem(list, at + index, value) < 0)
            return false;
    }
    return true;
}

static bool take_column(struct column_reader *reader, PyObject *list, Py_ssize_t at)
{
    switch (reader->kind) { /* a loop for each */
    case COLUMN_INT64:
        return take_all(reader, COLUMN_INT64, list, at);
    case COLUMN_FLOAT64:
        return take_all(reader, COLUMN_FLOAT64, list, at);
    case COLUMN_BOOL:
        return take_all(reader, COLUMN_BOOL, list, at);
    case COLUMN_NONE:
        return take_all(reader, COLUMN_NONE, list, at);
    case COLUMN_ASCII:
        return take_all(reader, COLUMN_ASCII, list, at);
    case COLUMN_UTF8:
        return take_all(reader, COLUMN_UTF8, list, at);
    default:
        return take_all(reader, COLUMN_BYTES, list, at);
    }
}

static bool decode(struct column_reader *reader, PyObject *list, int64_t at)
{
    if (!take_column(reader, list, at))
        return false;
    if (column_width(reader->kind) >= 0 || text_is_read(&reader->text))
        return true;
    column_refuse();
    return false;
}

FUNCTION(columns_decode)
{
    struct room room;
    struct column_reader reader;
    int64_t kind, nbytes, count, at;
    if (!take_count("decode", given, 7) || !take_int(arguments[0], &kind) || !take_int(arguments[4], &count) ||
        !take_list(arguments[5], "list") || !take_int(arguments[6], &at) ||
        !room_open(&room, arguments[1], arguments[2], false))
        return NULL;
    bool is_done = take_between(arguments[3], "nbytes", 0, room.nbytes, &nbytes) &&
                   column_read(&reader, kind, room.at, nbytes, count, 0);
    if (is_done && (at < 0 || at > PyList_Size(arguments[5]) || count > PyList_Size(arguments[5]) - at)) {
        PyErr_Format(PyExc_ValueError, "a list of %zd items has no room for %lld from %lld on",
                     PyList_Size(arguments[5]), (long long)count, (long long)at);
        is_done = false;
    }
    is_done = is_done && decode(&reader, arguments[5], at);
    PyBuffer_Release(&room.view);
    if (!is_done)
        return NULL;
    RETURN_NONE;
}
