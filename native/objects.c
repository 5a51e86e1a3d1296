/* Objects out of their attributes, as pickle makes them: by `object.__new__`, and then entry by entry in `__dict__`,
 * so that they share the keys of their class. No code of the class runs, for the caller has looked. */
#include "functions.h"

static newfunc new_of(PyTypeObject *type)
{
    return (newfunc)PyType_GetSlot(type, Py_tp_new);
}

/* Names are the same object wherever they are written, which makes looking for them quick. */
static bool set(PyObject *attributes, PyObject *name, PyObject *value)
{
    Py_INCREF(name);
    if (Py_TYPE(name) == &PyUnicode_Type)
        PyUnicode_InternInPlace(&name);
    bool is_set = PyDict_SetItem(attributes, name, value) == 0;
    Py_DECREF(name);
    return is_set;
}

static bool fill(PyObject *object, PyObject *given)
{
    PyObject *attributes = PyObject_GenericGetDict(object, NULL);
    bool is_full = attributes != NULL;
    PyObject *name, *value;
    for (Py_ssize_t at = 0; is_full && PyDict_Next(given, &at, &name, &value);)
        is_full = set(attributes, name, value);
    Py_XDECREF(attributes);
    return is_full;
}

static PyObject *build_one(PyTypeObject *kind, PyObject *nothing, PyObject *given)
{
    if (!PyDict_CheckExact(given)) {
        PyErr_SetString(PyExc_TypeError, "attributes must be a dict, and no subclass");
        return NULL;
    }
    PyObject *object = new_of(&PyBaseObject_Type)(kind, nothing, NULL);
    if (object && !fill(object, given))
        Py_CLEAR(object);
    return object;
}

/* Replaces every dict of the list by the object that has it. */
static bool build_all(PyTypeObject *kind, PyObject *list)
{
    PyObject *nothing = PyTuple_New(0);
    bool are_built = nothing != NULL;
    for (Py_ssize_t index = 0; are_built && index < PyList_Size(list); index++) {
        PyObject *object = build_one(kind, nothing, PyList_GetItem(list, index));
        are_built = object && PyList_SetItem(list, index, object) == 0;
    }
    Py_XDECREF(nothing);
    return are_built;
}

FUNCTION(objects_build)
{
    if (!take_count("build", given, 2) || !take_list(arguments[1], "attributes"))
        return NULL;
    PyTypeObject *kind = (PyTypeObject *)arguments[0];
    if (!PyType_Check(arguments[0]) || new_of(kind) != new_of(&PyBaseObject_Type)) {
        PyErr_SetString(PyExc_TypeError, "kind must be a class that has its __new__ from object");
        return NULL;
    }
    bool was_on = PyGC_Disable(); /* nothing of this is garbage */
    bool are_built = build_all(kind, arguments[1]);
    if (was_on)
        PyGC_Enable();
    if (!are_built)
        return NULL;
    RETURN_NONE;
}
