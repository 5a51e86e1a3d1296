/* Arrays side by side: whether some are of one form, and their bytes, one behind the other.
 *
 * Nothing here knows numpy: an array is what the buffer protocol and its attribute `dtype` say of it. No buffer is
 * asked for its format, which numpy would make of the dtype anew, for each array.
 */
#include "functions.h" /* Python.h comes first: it has the C library declare POSIX */

#include <string.h>

struct form {
    PyObject *dtype;
    Py_buffer view; /* of the first array; its shape is all that is looked at */
};

/* NULL without an exception: it has none, and is no array. */
static PyObject *find_dtype(PyObject *item, PyObject *name)
{
    PyObject *found = PyObject_GetAttr(item, name);
    if (!found && PyErr_ExceptionMatches(PyExc_AttributeError))
        PyErr_Clear();
    return found;
}

/* Whether the memory is contiguous and may be written to; the buffer is open then. */
static bool open_array(PyObject *item, Py_buffer *view)
{
    if (PyObject_GetBuffer(item, view, PyBUF_ND) < 0) {
        PyErr_Clear();
        return false;
    }
    if (!view->readonly && view->ndim > 0)
        return true;
    PyBuffer_Release(view);
    return false;
}

static bool has_shape(PyObject *item, const Py_buffer *first)
{
    Py_buffer view;
    if (!open_array(item, &view))
        return false;
    bool is_same = view.ndim == first->ndim && view.len == first->len &&
                   !memcmp(view.shape, first->shape, (size_t)view.ndim * sizeof *view.shape);
    PyBuffer_Release(&view);
    return is_same;
}

/* One dtype is mostly one object; where it is not, to compare two runs no code but numpy's. */
static int has_dtype(PyObject *item, PyObject *name, PyObject *dtype)
{
    PyObject *found = find_dtype(item, name);
    int is_same = !found ? -(PyErr_Occurred() != NULL) : found == dtype ? 1 : PyObject_RichCompareBool(found, dtype, Py_EQ);
    Py_XDECREF(found);
    return is_same;
}

/* 1, 0, or -1 for an exception. */
static int are_like(PyObject *items, PyObject *kind, PyObject *name, const struct form *form)
{
    int is_like = 1;
    for (Py_ssize_t index = 0; is_like > 0 && index < PyList_Size(items); index++) {
        PyObject *item = PyList_GetItem(items, index);
        Py_INCREF(item);
        is_like = (PyObject *)Py_TYPE(item) == kind ? has_dtype(item, name, form->dtype) : 0;
        if (is_like > 0)
            is_like = has_shape(item, &form->view);
        Py_DECREF(item);
    }
    return is_like;
}

static int are_alike(PyObject *items, PyObject *kind, PyObject *name)
{
    struct form form;
    PyObject *first = PyList_Size(items) > 0 ? PyList_GetItem(items, 0) : NULL;
    if (!first || (PyObject *)Py_TYPE(first) != kind || !open_array(first, &form.view))
        return 0;
    form.dtype = find_dtype(first, name);
    int is_like = form.dtype ? are_like(items, kind, name, &form) : PyErr_Occurred() ? -1 : 0;
    Py_XDECREF(form.dtype);
    PyBuffer_Release(&form.view);
    return is_like;
}

FUNCTION(stack_alike)
{
    if (!take_count("alike", given, 2) || !take_list(arguments[0], "items"))
        return NULL;
    PyObject *name = PyUnicode_InternFromString("dtype");
    int is_like = name ? are_alike(arguments[0], arguments[1], name) : -1;
    Py_XDECREF(name);
    return is_like < 0 ? NULL : PyBool_FromLong(is_like);
}

static bool put(PyObject *item, struct room *room)
{
    Py_buffer view;
    if (PyObject_GetBuffer(item, &view, PyBUF_SIMPLE) < 0)
        return false;
    bool has_room = view.len <= room->nbytes;
    if (has_room) {
        memcpy(room->at, view.buf, (size_t)view.len);
        room->at += view.len;
        room->nbytes -= view.len;
    } else {
        PyErr_SetString(PyExc_ValueError, "the buffer has no room for the bytes of all items");
    }
    PyBuffer_Release(&view);
    return has_room;
}

/* To open a buffer may run code that shortens the list. */
static bool put_at(PyObject *items, Py_ssize_t index, struct room *room)
{
    PyObject *item = PyList_GetItem(items, index);
    Py_INCREF(item);
    bool is_done = put(item, room);
    Py_DECREF(item);
    return is_done;
}

FUNCTION(stack_stack)
{
    struct room room;
    if (!take_count("stack", given, 3) || !take_list(arguments[0], "items") ||
        !room_open(&room, arguments[1], arguments[2], true))
        return NULL;
    bool is_done = true;
    for (Py_ssize_t index = 0; is_done && index < PyList_Size(arguments[0]); index++)
        is_done = put_at(arguments[0], index, &room);
    PyBuffer_Release(&room.view);
    if (!is_done)
        return NULL;
    RETURN_NONE;
}
