/* Plain values: tuples, lists, dicts and sets, one in the other, of scalars and of what the caller vouches for.
 *
 * Many of them may be pickled as one: no code of anybody's runs while one is, which could fail, or end the process,
 * on behalf of one of them alone; and what is one object in two of them is none that can be changed. Whether it is, the
 * count of references says: a list in a list has one, unless something else has it too. Nothing here runs code of
 * Python's; what it makes, such as the attributes of an object, is made while no garbage is collected.
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

/* Types besides Python's own, as `Kinds` of scalars.py has them; the last is the type that was not known. */
enum { LEAVES, DATED, ZONES, TUPLES, OBJECTS, SLOTTED, TOP, KINDS };

struct walk {
    PyObject *kinds[KINDS];
    PyObject *unknown;
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

/* Whether a part can be looked for by its hash without code of anybody's, who alone could say so of what is open. */
static bool is_frozen(PyObject *part, struct walk *walk, int depth)
{
    return walk->left-- > 0 && weigh(part, walk, depth - 1) == FROZEN;
}

static enum weight weigh_dict(PyObject *dict, struct walk *walk, int depth)
{
    enum weight weight = OPEN;
    PyObject *key, *value;
    for (Py_ssize_t at = 0; weight != NOT_PLAIN && PyDict_Next(dict, &at, &key, &value);)
        weight = is_frozen(key, walk, depth) ? add(weight, value, walk, depth) : NOT_PLAIN;
    return weight;
}

static enum weight weigh_set(PyObject *set, struct walk *walk, int depth)
{
    PyObject *iterator = PyObject_GetIter(set);
    bool is_plain = iterator != NULL;
    PyObject *part;
    for (; is_plain && (part = PyIter_Next(iterator)); Py_DECREF(part))
        is_plain = is_frozen(part, walk, depth);
    Py_XDECREF(iterator);
    is_plain = is_plain && !PyErr_Occurred();
    PyErr_Clear();
    return !is_plain ? NOT_PLAIN : Py_TYPE(set) == &PySet_Type ? OPEN : FROZEN;
}

/* Whether attributes have a name that pickle asks the object for, and not its class. */
static bool has_hook(PyObject *dict)
{
    PyObject *key, *value;
    for (Py_ssize_t at = 0; PyDict_Next(dict, &at, &key, &value);)
        if (PyUnicode_Check(key) && PyUnicode_GetLength(key) > 1 && PyUnicode_ReadChar(key, 0) == '_' &&
            PyUnicode_ReadChar(key, 1) == '_')
            return true;
    return false;
}

/* An object weighs what its attributes do. */
static enum weight weigh_object(PyObject *object, struct walk *walk, int depth)
{
    PyObject *dict = PyObject_GetAttrString(object, "__dict__");
    PyErr_Clear();
    bool is_own = dict && Py_TYPE(dict) == &PyDict_Type && (uint32_t)Py_REFCNT(dict) <= 2; /* its and this one */
    bool is_plain = is_own && !has_hook(dict) && weigh_dict(dict, walk, depth) != NOT_PLAIN;
    Py_XDECREF(dict);
    return is_plain ? OPEN : NOT_PLAIN;
}

/* The attribute of a slot, or NULL. Borrowed: the slot has it, and no code runs that could change that. */
static PyObject *in_slot(PyObject *object, PyObject *name)
{
    PyObject *part = PyObject_GetAttr(object, name);
    PyErr_Clear();
    Py_XDECREF(part);
    return part;
}

/* Where attributes are in slots, the class has a list of their names, which `copyreg` has put there. */
static enum weight weigh_slotted(PyObject *object, struct walk *walk, int depth)
{
    PyObject *names = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__slotnames__");
    PyErr_Clear();
    enum weight weight = names && PyList_CheckExact(names) ? OPEN : NOT_PLAIN;
    for (Py_ssize_t index = 0; weight != NOT_PLAIN && index < PyList_Size(names); index++) {
        PyObject *part = in_slot(object, PyList_GetItem(names, index));
        weight = part ? add(weight, part, walk, depth) : weight;
    }
    Py_XDECREF(names);
    return weight;
}

/* A time is as plain as its zone. */
static enum weight weigh_time(PyObject *time, struct walk *walk)
{
    PyObject *zone = PyObject_GetAttrString(time, "tzinfo");
    PyErr_Clear();
    bool is_known = zone && (zone == Py_None || is_of(zone, walk->kinds[ZONES]));
    Py_XDECREF(zone);
    return is_known ? FROZEN : NOT_PLAIN;
}

static enum weight weigh_sequence(PyObject *value, struct walk *walk, int depth)
{
    bool is_list = Py_TYPE(value) == &PyList_Type;
    enum weight weight = is_list ? OPEN : FROZEN;
    Py_ssize_t count = is_list ? PyList_Size(value) : PyTuple_Size(value);
    for (Py_ssize_t index = 0; weight != NOT_PLAIN && index < count; index++)
        weight = add(weight, is_list ? PyList_GetItem(value, index) : PyTuple_GetItem(value, index), walk, depth);
    return weight;
}

static enum weight weigh(PyObject *value, struct walk *walk, int depth)
{
    if (is_scalar(value))
        return FROZEN;
    if (depth == 0)
        return NOT_PLAIN;
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyDict_Type)
        return weigh_dict(value, walk, depth);
    if (type == &PyTuple_Type || type == &PyList_Type || is_of(value, walk->kinds[TUPLES]))
        return weigh_sequence(value, walk, depth);
    if (type == &PySet_Type || type == &PyFrozenSet_Type)
        return weigh_set(value, walk, depth);
    if (is_of(value, walk->kinds[LEAVES]))
        return FROZEN;
    if (is_of(value, walk->kinds[DATED]))
        return weigh_time(value, walk);
    if (is_of(value, walk->kinds[OBJECTS]))
        return weigh_object(value, walk, depth);
    if (is_of(value, walk->kinds[SLOTTED]))
        return weigh_slotted(value, walk, depth);
    walk->unknown = (PyObject *)type;
    return NOT_PLAIN;
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

static bool is_fit(PyObject *item, struct walk *walk, struct seen *seen)
{
    walk->left = MOST;
    bool is_top = is_of(item, walk->kinds[TOP]);
    enum weight weight = is_top ? weigh_object(item, walk, DEEPEST) : weigh(item, walk, DEEPEST);
    return weight == FROZEN || (weight == OPEN && seen_add(seen, item));
}

static bool take_kinds(struct walk *walk, PyObject *kinds)
{
    bool are_tuples = PyTuple_Check(kinds) && PyTuple_Size(kinds) == KINDS;
    for (int number = 0; are_tuples && number < KINDS; number++) {
        walk->kinds[number] = PyTuple_GetItem(kinds, number);
        are_tuples = Py_TYPE(walk->kinds[number]) == &PyTuple_Type;
    }
    if (!are_tuples)
        PyErr_Format(PyExc_TypeError, "kinds must be %d tuples, and no subclasses", KINDS);
    return are_tuples;
}

static bool are_fit(PyObject *items, struct walk *walk)
{
    struct seen seen;
    bool are_plain = seen_open(&seen, PyList_Size(items));
    bool was_on = PyGC_Disable();
    for (Py_ssize_t index = 0; are_plain && index < PyList_Size(items); index++)
        are_plain = is_fit(PyList_GetItem(items, index), walk, &seen);
    if (was_on)
        PyGC_Enable();
    free(seen.slots);
    return are_plain;
}

FUNCTION(plain_are_plain)
{
    struct walk walk = {.unknown = NULL};
    if (!take_count("are_plain", given, 2) || !take_list(arguments[0], "items") || !take_kinds(&walk, arguments[1]))
        return NULL;
    bool are_plain = are_fit(arguments[0], &walk);
    return walk.unknown ? Py_NewRef(walk.unknown) : PyBool_FromLong(are_plain);
}
