/* From a column to a list of new values. Whatever the bytes are, the end is a list or an exception. */
#include "functions.h"

#include "column.h"

static bool is_set(PyObject *list, Py_ssize_t index, PyObject *item)
{
    return item && PyList_SetItem(list, index, item) == 0;
}

static bool decode_ints(PyObject *list, const uint8_t *at, Py_ssize_t count)
{
    for (Py_ssize_t index = 0; index < count; index++) {
        long long value;
        memcpy(&value, at + 8 * index, 8);
        if (!is_set(list, index, PyLong_FromLongLong(value)))
            return false;
    }
    return true;
}

static bool decode_floats(PyObject *list, const uint8_t *at, Py_ssize_t count)
{
    for (Py_ssize_t index = 0; index < count; index++) {
        double value;
        memcpy(&value, at + 8 * index, 8);
        if (!is_set(list, index, PyFloat_FromDouble(value)))
            return false;
    }
    return true;
}

static bool refuse(void)
{
    PyErr_SetString(PyExc_ValueError, "the bytes are no column of that kind and length");
    return false;
}

static bool decode_bools(PyObject *list, const uint8_t *at, Py_ssize_t count)
{
    for (Py_ssize_t index = 0; index < count; index++) {
        uint8_t value = at[index];
        if (value > 1)
            return refuse();
        if (!is_set(list, index, PyBool_FromLong(value)))
            return false;
    }
    return true;
}

static bool decode_nones(PyObject *list, Py_ssize_t count)
{
    for (Py_ssize_t index = 0; index < count; index++) {
        Py_INCREF(Py_None);
        if (!is_set(list, index, Py_None))
            return false;
    }
    return true;
}

typedef PyObject *(*make_text)(const char *bytes, Py_ssize_t size, const char *errors);

static PyObject *make_bytes(const char *bytes, Py_ssize_t size, const char *errors)
{
    (void)errors;
    return PyBytes_FromStringAndSize(bytes, size);
}

/* Inlined once for each way to make an item. */
static inline bool decode_text(PyObject *list, struct text_reader reader, Py_ssize_t count, make_text make)
{
    for (Py_ssize_t index = 0; index < count; index++) {
        int64_t size;
        const char *bytes = text_next(&reader, &size);
        if (!bytes)
            return refuse();
        if (!is_set(list, index, make(bytes, size, NULL)))
            return false;
    }
    return text_is_read(&reader) || refuse();
}

static bool decode_column(PyObject *list, int kind, const uint8_t *at, int64_t nbytes, Py_ssize_t count)
{
    switch (kind) {
    case COLUMN_INT64:
        return decode_ints(list, at, count);
    case COLUMN_FLOAT64:
        return decode_floats(list, at, count);
    case COLUMN_BOOL:
        return decode_bools(list, at, count);
    case COLUMN_NONE:
        return decode_nones(list, count);
    case COLUMN_ASCII: /* not as Latin-1, which reads the bytes twice and takes any */
        return decode_text(list, text_read(at, nbytes, count), count, PyUnicode_DecodeASCII);
    case COLUMN_UTF8:
        return decode_text(list, text_read(at, nbytes, count), count, PyUnicode_DecodeUTF8);
    default:
        return decode_text(list, text_read(at, nbytes, count), count, make_bytes);
    }
}

static PyObject *decode_list(int64_t kind, const struct room *room, int64_t nbytes, int64_t count)
{
    if (kind != (int)kind || !column_may_be((int)kind, nbytes, count)) {
        refuse();
        return NULL;
    }
    PyObject *list = PyList_New(count);
    if (list && !decode_column(list, (int)kind, room->at, nbytes, count))
        Py_CLEAR(list);
    return list;
}

FUNCTION(columns_decode)
{
    struct room room;
    int64_t kind, nbytes, count;
    if (!take_count("decode", given, 5) || !take_int(arguments[0], &kind) || !take_int(arguments[4], &count) ||
        !room_open(&room, arguments[1], arguments[2], false))
        return NULL;
    PyObject *list = NULL;
    if (take_between(arguments[3], "nbytes", 0, room.nbytes, &nbytes))
        list = decode_list(kind, &room, nbytes, count);
    PyBuffer_Release(&room.view);
    return list;
}
