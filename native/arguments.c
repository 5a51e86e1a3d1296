/* Checks what Python code passes: the functions behind it may take counts, bounds and alignment as given. */
#include "arguments.h"

bool take_count(const char *function, Py_ssize_t given, Py_ssize_t expected)
{
    if (given == expected)
        return true;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd positional arguments but %zd were given", function, expected, given);
    return false;
}

bool take_int(PyObject *object, int64_t *value)
{
    *value = PyLong_AsLongLong(object);
    if (*value != -1 || !PyErr_Occurred())
        return true;
    if (PyErr_ExceptionMatches(PyExc_OverflowError)) /* as out of bounds as any other number */
        PyErr_Format(PyExc_ValueError, "%R does not fit in 64 bits", object);
    return false;
}

bool take_between(PyObject *object, const char *name, int64_t low, int64_t high, int64_t *value)
{
    if (!take_int(object, value))
        return false;
    if (*value >= low && *value <= high)
        return true;
    PyErr_Format(PyExc_ValueError, "%s is %lld, not from %lld to %lld", name, (long long)*value, (long long)low,
                 (long long)high);
    return false;
}

bool take_list(PyObject *object, const char *name)
{
    if (Py_TYPE(object) == &PyList_Type)
        return true;
    PyErr_Format(PyExc_TypeError, "%s must be a list, and no subclass", name);
    return false;
}

bool words_open(struct words *words, PyObject *buffer, int64_t least)
{
    if (PyObject_GetBuffer(buffer, &words->view, PyBUF_WRITABLE) < 0)
        return false;
    words->at = words->view.buf;
    words->count = words->view.len / (int64_t)sizeof(int64_t);
    bool is_aligned = (uintptr_t)words->view.buf % sizeof(int64_t) == 0; /* else no access to a word is one access */
    if (is_aligned && words->count >= least)
        return true;
    if (is_aligned)
        PyErr_Format(PyExc_ValueError, "the buffer has %lld words, not %lld", (long long)words->count,
                     (long long)least);
    else
        PyErr_SetString(PyExc_ValueError, "the buffer does not begin at a multiple of 8");
    PyBuffer_Release(&words->view);
    return false;
}

bool room_open(struct room *room, PyObject *buffer, PyObject *offset, bool is_written)
{
    int64_t begin;
    if (PyObject_GetBuffer(buffer, &room->view, is_written ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0)
        return false;
    if (take_between(offset, "offset", 0, room->view.len, &begin)) {
        room->at = (uint8_t *)room->view.buf + begin;
        room->nbytes = room->view.len - begin;
        if (begin % 8 == 0)
            return true;
        PyErr_Format(PyExc_ValueError, "offset is %lld, not a multiple of 8", (long long)begin);
    }
    PyBuffer_Release(&room->view);
    return false;
}
