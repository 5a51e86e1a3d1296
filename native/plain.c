/* Plain values: tuples, lists and dicts, one in the other, of scalars; all exactly of types that Python itself pickles.
 *
 * Many of them may be pickled as one: no code of anybody's runs while one is, which could fail, or end the process,
 * on behalf of one of them alone; and what is one object in two of them is none that can be changed. Whether it is, the
 * count of references says: a list in a list has one, unless something else has it too. Nothing here runs Python
 * code or makes an object, but for one: the attributes of an object of a class that the caller vouches for.
 */
#include "functions.h"

enum weight {
    NOT_PLAIN = 0,
    FROZEN = 1, /* nothing of it can be changed */
    OPEN = 2,
};

enum { DEEPEST = 50 }; /* what is deeper may be endless */

static bool is_of(PyObject *value, PyObject *kinds)
{
    for (Py_ssize_t index = PyTuple_Size(kinds); index-- > 0;)
        if (PyTuple_GetItem(kinds, index) == (PyObject *)Py_TYPE(value))
            return true;
    return false;
}

static bool is_scalar(PyObject *value, PyObject *kinds)
{
    PyTypeObject *type = Py_TYPE(value);
    return type == &PyLong_Type || type == &PyUnicode_Type || type == &PyFloat_Type || type == &PyBytes_Type ||
           type == &PyBool_Type || value == Py_None || is_of(value, kinds);
}

/* Later versions of Python keep flags in the upper half. */
static bool is_elsewhere(PyObject *part)
{
    return (uint32_t)Py_REFCNT(part) > 1;
}

static enum weight weigh(PyObject *value, PyObject *kinds, int depth);

/* What a part makes of the whole that has weighed so much without it. */
static enum weight add(enum weight whole, PyObject *part, PyObject *kinds, int depth)
{
    enum weight weight = weigh(part, kinds, depth - 1);
    if (weight == NOT_PLAIN || (weight == OPEN && is_elsewhere(part)))
        return NOT_PLAIN;
    return weight > whole ? weight : whole;
}

static enum weight weigh_dict(PyObject *dict, PyObject *kinds, int depth)
{
    enum weight weight = OPEN;
    PyObject *key, *value;
    for (Py_ssize_t at = 0; weight != NOT_PLAIN && PyDict_Next(dict, &at, &key, &value);) {
        weight = add(weight, key, kinds, depth);
        if (weight != NOT_PLAIN)
            weight = add(weight, value, kinds, depth);
    }
    return weight;
}

static enum weight weigh(PyObject *value, PyObject *kinds, int depth)
{
    if (is_scalar(value, kinds))
        return FROZEN;
    if (depth == 0)
        return NOT_PLAIN;
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyDict_Type)
        return weigh_dict(value, kinds, depth);
    enum weight weight = type == &PyTuple_Type ? FROZEN : type == &PyList_Type ? OPEN : NOT_PLAIN;
    if (weight == NOT_PLAIN)
        return NOT_PLAIN;
    bool is_list = weight == OPEN;
    Py_ssize_t count = is_list ? PyList_Size(value) : PyTuple_Size(value);
    for (Py_ssize_t index = 0; weight != NOT_PLAIN && index < count; index++)
        weight = add(weight, is_list ? PyList_GetItem(value, index) : PyTuple_GetItem(value, index), kinds, depth);
    return weight;
}

/* An object weighs what its attributes do. To have their dict made may run a garbage collection, so it is not done
 * for what lies within another value. */
static enum weight weigh_object(PyObject *object, PyObject *kinds)
{
    Py_INCREF(object);
    PyObject *dict = PyObject_GetAttrString(object, "__dict__");
    PyErr_Clear();
    bool is_plain = dict && Py_TYPE(dict) == &PyDict_Type && weigh_dict(dict, kinds, DEEPEST) != NOT_PLAIN;
    Py_XDECREF(dict);
    Py_DECREF(object);
    return is_plain ? OPEN : NOT_PLAIN;
}

static bool take_tuple(PyObject *object, const char *name)
{
    if (Py_TYPE(object) == &PyTuple_Type)
        return true;
    PyErr_Format(PyExc_TypeError, "%s must be a tuple, and no subclass", name);
    return false;
}

FUNCTION(plain_weigh)
{
    if (!take_count("weigh", given, 3) || !take_list(arguments[0], "items") || !take_tuple(arguments[1], "kinds") ||
        !take_tuple(arguments[2], "classes"))
        return NULL;
    enum weight weight = FROZEN;
    for (Py_ssize_t index = 0; weight != NOT_PLAIN && index < PyList_Size(arguments[0]); index++) {
        PyObject *item = PyList_GetItem(arguments[0], index);
        enum weight one = is_of(item, arguments[2]) ? weigh_object(item, arguments[1])
                                                    : weigh(item, arguments[1], DEEPEST);
        weight = one == NOT_PLAIN || one > weight ? one : weight;
    }
    return PyLong_FromLong(weight);
}
