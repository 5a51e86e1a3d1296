/* Plain values: tuples, lists and dicts, one in the other, of scalars; all exactly of types that Python itself pickles.
 *
 * Many of them may be pickled as one: no code of anybody's runs while one is, which could fail, or end the process,
 * on behalf of one of them alone; and what is one object in two of them is none that can be changed. Whether it is, the
 * count of references says: a list in a list has one, unless something else has it too. Nothing here runs Python
 * code or makes an object, but for one: the attributes of an object of a class that the caller vouches for.
 */
#include "functions.h"

#include <stdlib.h>

enum weight {
    NOT_PLAIN = 0,
    FROZEN = 1, /* nothing of it can be changed */
    OPEN = 2,
};

enum {
    DEEPEST = 50,    /* what is deeper may be endless */
    MOST = 1 << 16,  /* parts of an item: a tuple that is in two places is walked twice, and so are those in it */
};

static bool is_of(PyObject *value, PyObject *kinds)
{
    for (Py_ssize_t index = PyTuple_Size(kinds); index-- > 0;)
        if (PyTuple_GetItem(kinds, index) == (PyObject *)Py_TYPE(value))
            return true;
    return false;
}

static bool is_scalar(PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    return type == &PyLong_Type || type == &PyUnicode_Type || type == &PyFloat_Type || type == &PyBytes_Type ||
           type == &PyBool_Type || value == Py_None;
}

/* Later versions of Python keep flags in the upper half. */
static bool is_elsewhere(PyObject *part)
{
    return (uint32_t)Py_REFCNT(part) > 1;
}

struct walk {
    PyObject *kinds;
    int left; /* parts that may still be looked at */
};

static enum weight weigh(PyObject *value, struct walk *walk, int depth);

/* What a part makes of the whole that has weighed so much without it. */
static enum weight add(enum weight whole, PyObject *part, struct walk *walk, int depth)
{
    enum weight weight = walk->left-- > 0 ? weigh(part, walk, depth - 1) : NOT_PLAIN;
    if (weight == NOT_PLAIN || (weight == OPEN && is_elsewhere(part)))
        return NOT_PLAIN;
    return weight > whole ? weight : whole;
}

static enum weight weigh_dict(PyObject *dict, struct walk *walk, int depth)
{
    enum weight weight = OPEN;
    PyObject *key, *value;
    for (Py_ssize_t at = 0; weight != NOT_PLAIN && PyDict_Next(dict, &at, &key, &value);) {
        weight = add(weight, key, walk, depth);
        if (weight != NOT_PLAIN)
            weight = add(weight, value, walk, depth);
    }
    return weight;
}

static enum weight weigh(PyObject *value, struct walk *walk, int depth)
{
    if (is_scalar(value))
        return FROZEN;
    PyTypeObject *type = Py_TYPE(value);
    bool is_list = type == &PyList_Type, is_dict = type == &PyDict_Type;
    if (!is_list && !is_dict && type != &PyTuple_Type)
        return is_of(value, walk->kinds) ? FROZEN : NOT_PLAIN;
    if (depth == 0)
        return NOT_PLAIN;
    if (is_dict)
        return weigh_dict(value, walk, depth);
    enum weight weight = is_list ? OPEN : FROZEN;
    Py_ssize_t count = is_list ? PyList_Size(value) : PyTuple_Size(value);
    for (Py_ssize_t index = 0; weight != NOT_PLAIN && index < count; index++)
        weight = add(weight, is_list ? PyList_GetItem(value, index) : PyTuple_GetItem(value, index), walk, depth);
    return weight;
}

/* Items that can be changed, by address, to find one that is there twice: open addressing, at most half full. */
struct seen {
    PyObject **slots;
    size_t mask;
};

static bool seen_open(struct seen *seen, Py_ssize_t count)
{
    size_t size = 16;
    while (size < 2 * (size_t)count)
        size *= 2;
    seen->mask = size - 1;
    seen->slots = calloc(size, sizeof *seen->slots);
    return seen->slots != NULL;
}

/* False if it is there. */
static bool seen_add(struct seen *seen, PyObject *item)
{
    size_t slot = ((uintptr_t)item >> 4) * 0x9E3779B97F4A7C15u >> 20 & seen->mask;
    for (; seen->slots[slot]; slot = (slot + 1) & seen->mask)
        if (seen->slots[slot] == item)
            return false;
    seen->slots[slot] = item;
    return true;
}

/* An object weighs what its attributes do. To have their dict made may run a garbage collection, so it is not done
 * for what lies within another value. */
static enum weight weigh_object(PyObject *object, struct walk *walk)
{
    Py_INCREF(object);
    PyObject *dict = PyObject_GetAttrString(object, "__dict__");
    PyErr_Clear();
    bool is_own = dict && Py_TYPE(dict) == &PyDict_Type && (uint32_t)Py_REFCNT(dict) <= 2; /* its and this one */
    bool is_plain = is_own && weigh_dict(dict, walk, DEEPEST) != NOT_PLAIN;
    Py_XDECREF(dict);
    Py_DECREF(object);
    return is_plain ? OPEN : NOT_PLAIN;
}

static bool is_fit(PyObject *item, PyObject *kinds, PyObject *classes, struct seen *seen)
{
    struct walk walk = {.kinds = kinds, .left = MOST};
    enum weight weight = is_of(item, classes) ? weigh_object(item, &walk) : weigh(item, &walk, DEEPEST);
    return weight == FROZEN || (weight == OPEN && seen_add(seen, item));
}

static bool take_tuple(PyObject *object, const char *name)
{
    if (Py_TYPE(object) == &PyTuple_Type)
        return true;
    PyErr_Format(PyExc_TypeError, "%s must be a tuple, and no subclass", name);
    return false;
}

FUNCTION(plain_are_plain)
{
    if (!take_count("are_plain", given, 3) || !take_list(arguments[0], "items") || !take_tuple(arguments[1], "kinds") ||
        !take_tuple(arguments[2], "classes"))
        return NULL;
    struct seen seen;
    bool are_plain = seen_open(&seen, PyList_Size(arguments[0]));
    for (Py_ssize_t index = 0; are_plain && index < PyList_Size(arguments[0]); index++)
        are_plain = is_fit(PyList_GetItem(arguments[0], index), arguments[1], arguments[2], &seen);
    free(seen.slots);
    return PyBool_FromLong(are_plain);
}
