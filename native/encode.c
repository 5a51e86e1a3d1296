/* From a list of exact values of one type to a column.
 *
 * Nothing here runs Python code before the last item is read, so the list cannot change meanwhile. The type of
 * the first item decides the kind; the first item that does not fit in ends the attempt.
 */
#include "functions.h"

#include "column.h"

/* Neighbouring items of a list and the memory that they go to. */
struct source {
    PyObject *items;
    Py_ssize_t start;
    Py_ssize_t stop;
    uint8_t *at;
    int64_t room;
    bool is_cut; /* the buffer has more room than a column may have bytes */
};

struct column {
    int kind;
    int64_t nbytes;
};

static const struct column NOT_COLUMNAR = {COLUMN_NOT, 0};
static const struct column NO_ROOM = {-1, 0};

static struct column overrun(const struct source *source)
{
    return source->is_cut ? NOT_COLUMNAR : NO_ROOM;
}

static struct column encode_ints(const struct source *source)
{
    uint8_t *at = source->at;
    for (Py_ssize_t index = source->start; index < source->stop; index++, at += 8) {
        int overflow;
        PyObject *item = PyList_GetItem(source->items, index);
        if (Py_TYPE(item) != &PyLong_Type)
            return NOT_COLUMNAR;
        int64_t value = PyLong_AsLongLongAndOverflow(item, &overflow);
        if (overflow)
            return NOT_COLUMNAR;
        memcpy(at, &value, 8);
    }
    return (struct column){COLUMN_INT64, at - source->at};
}

static struct column encode_floats(const struct source *source)
{
    uint8_t *at = source->at;
    for (Py_ssize_t index = source->start; index < source->stop; index++, at += 8) {
        PyObject *item = PyList_GetItem(source->items, index);
        if (Py_TYPE(item) != &PyFloat_Type)
            return NOT_COLUMNAR;
        double value = PyFloat_AsDouble(item);
        memcpy(at, &value, 8);
    }
    return (struct column){COLUMN_FLOAT64, at - source->at};
}

static struct column encode_bools(const struct source *source)
{
    uint8_t *at = source->at;
    for (Py_ssize_t index = source->start; index < source->stop; index++) {
        PyObject *item = PyList_GetItem(source->items, index);
        if (item != Py_True && item != Py_False)
            return NOT_COLUMNAR;
        *at++ = item == Py_True;
    }
    return (struct column){COLUMN_BOOL, at - source->at};
}

static struct column encode_nones(const struct source *source)
{
    for (Py_ssize_t index = source->start; index < source->stop; index++) {
        if (PyList_GetItem(source->items, index) != Py_None)
            return NOT_COLUMNAR;
    }
    return (struct column){COLUMN_NONE, 0};
}

static struct column encode_bytes(const struct source *source, struct text_writer *writer)
{
    for (Py_ssize_t index = source->start; index < source->stop; index++) {
        char *bytes;
        Py_ssize_t size;
        PyObject *item = PyList_GetItem(source->items, index);
        if (Py_TYPE(item) != &PyBytes_Type)
            return NOT_COLUMNAR;
        PyBytes_AsStringAndSize(item, &bytes, &size);
        if (!text_put(writer, bytes, size))
            return overrun(source);
    }
    return (struct column){COLUMN_BYTES, writer->at - source->at};
}

/* A lone surrogate has no UTF-8; anything else that went wrong, such as a lack of memory, goes wrong in pickle too. */
static struct column not_in_utf8(void)
{
    PyErr_Clear();
    return NOT_COLUMNAR;
}

static struct column encode_utf8(const struct source *source, Py_ssize_t index, struct text_writer *writer)
{
    for (; index < source->stop; index++) {
        PyObject *item = PyList_GetItem(source->items, index);
        if (Py_TYPE(item) != &PyUnicode_Type)
            return NOT_COLUMNAR;
        PyObject *encoded = PyUnicode_AsUTF8String(item);
        if (!encoded)
            return not_in_utf8();
        char *bytes;
        Py_ssize_t size;
        PyBytes_AsStringAndSize(encoded, &bytes, &size);
        bool is_put = text_put(writer, bytes, size);
        Py_DECREF(encoded);
        if (!is_put)
            return overrun(source);
    }
    return (struct column){COLUMN_UTF8, writer->at - source->at};
}

/* PyUnicode_AsUTF8AndSize points into an ASCII string, for nothing; of any other it leaves a copy in the string for
 * as long as that lives, in memory that the user did not ask for. The limited API does not tell which it is before.
 * So the first one that is not ASCII, where the lengths differ, costs a copy that stays, one a column, and from
 * there on each is encoded on its own, which takes three times as long, and nothing stays. */
static struct column encode_strings(const struct source *source, struct text_writer *writer)
{
    for (Py_ssize_t index = source->start; index < source->stop; index++) {
        Py_ssize_t size;
        PyObject *item = PyList_GetItem(source->items, index);
        if (Py_TYPE(item) != &PyUnicode_Type)
            return NOT_COLUMNAR;
        const char *bytes = PyUnicode_AsUTF8AndSize(item, &size);
        if (!bytes)
            return not_in_utf8();
        if (PyUnicode_GetLength(item) != size)
            return encode_utf8(source, index, writer);
        if (!text_put(writer, bytes, size))
            return overrun(source);
    }
    return (struct column){COLUMN_ASCII, writer->at - source->at};
}

static struct column encode_text(const struct source *source, bool is_bytes)
{
    struct text_writer writer;
    if (!text_write(&writer, source->at, source->room, source->stop - source->start))
        return overrun(source);
    return is_bytes ? encode_bytes(source, &writer) : encode_strings(source, &writer);
}

static struct column encode_fixed(const struct source *source, int kind, struct column (*encode)(const struct source *))
{
    if ((source->stop - source->start) * column_width(kind) > source->room)
        return overrun(source);
    return encode(source);
}

static struct column encode_column(const struct source *source)
{
    if (source->start == source->stop || source->stop - source->start >= COLUMN_LIMIT)
        return NOT_COLUMNAR;
    PyObject *item = PyList_GetItem(source->items, source->start);
    PyTypeObject *type = Py_TYPE(item);
    if (type == &PyUnicode_Type || type == &PyBytes_Type)
        return encode_text(source, type == &PyBytes_Type);
    if (type == &PyLong_Type)
        return encode_fixed(source, COLUMN_INT64, encode_ints);
    if (type == &PyFloat_Type)
        return encode_fixed(source, COLUMN_FLOAT64, encode_floats);
    if (type == &PyBool_Type)
        return encode_fixed(source, COLUMN_BOOL, encode_bools);
    return item == Py_None ? encode_nones(source) : NOT_COLUMNAR;
}

/* The length is looked at last, as an argument's __index__ could shorten the list. */
static bool take_slice(struct source *source, PyObject *const *arguments)
{
    int64_t start, stop;
    if (!take_list(arguments[0], "items") || !take_int(arguments[1], &start) || !take_int(arguments[2], &stop))
        return false;
    source->items = arguments[0];
    source->start = start;
    source->stop = stop;
    if (start >= 0 && start <= stop && stop <= PyList_Size(source->items))
        return true;
    PyErr_Format(PyExc_ValueError, "a list of %zd items has no slice %lld:%lld", PyList_Size(source->items),
                 (long long)start, (long long)stop);
    return false;
}

FUNCTION(columns_encode)
{
    struct room room;
    struct source source;
    if (!take_count("encode", given, 5) || !room_open(&room, arguments[3], arguments[4], true))
        return NULL;
    PyObject *encoded = NULL;
    if (take_slice(&source, arguments)) {
        source.at = room.at;
        source.is_cut = room.nbytes >= COLUMN_LIMIT;
        source.room = source.is_cut ? COLUMN_LIMIT - 1 : room.nbytes;
        struct column column = encode_column(&source);
        encoded = Py_BuildValue("(iL)", column.kind, (long long)column.nbytes);
    }
    PyBuffer_Release(&room.view);
    return encoded;
}
