/* The ledger for Python. The lock that the twin needs is an argument here too, and not looked at. */
#include "functions.h"

#include "ledger.h"

static bool open_ledger(struct words *words, PyObject *ledger)
{
    return words_open(words, ledger, LEDGER_WORDS);
}

static bool take_position(PyObject *object, struct share *share)
{
    int64_t position;
    if (!take_between(object, "position", 0, LEDGER_POSITIONS - 1, &position))
        return false;
    share->position = (int)position;
    return true;
}

static bool take_grains(PyObject *first, PyObject *grains, struct share *share)
{
    int64_t begin, count;
    if (!take_between(first, "first_grain", 0, LEDGER_GRAINS, &begin) ||
        !take_between(grains, "grains", 0, LEDGER_GRAINS - begin, &count))
        return false;
    share->first = (int)begin;
    share->grains = (int)count;
    return true;
}

static bool take_slot(PyObject *object, int64_t *slot)
{
    return take_between(object, "slot", 0, LEDGER_SLOTS - 1, slot);
}

FUNCTION(claims_publish)
{
    struct words words;
    struct share share;
    if (!take_count("publish", given, 3) || !take_position(arguments[1], &share) || !open_ledger(&words, arguments[0]))
        return NULL;
    bool is_published = ledger_publish(words.at, share.position);
    PyBuffer_Release(&words.view);
    if (is_published)
        RETURN_NONE;
    return PyErr_Format(PyExc_ValueError, "the entry at %d does not have 1 to %d grains", share.position,
                        LEDGER_GRAINS);
}

FUNCTION(claims_claim)
{
    struct words words;
    struct share share;
    int64_t slot, want;
    if (!take_count("claim", given, 4) || !take_slot(arguments[1], &slot) || !take_int(arguments[2], &want) ||
        !open_ledger(&words, arguments[0]))
        return NULL;
    bool is_claimed = ledger_claim(words.at, (int)slot, want, &share);
    PyBuffer_Release(&words.view);
    if (is_claimed)
        return Py_BuildValue("(iii)", share.position, share.first, share.grains);
    RETURN_NONE;
}

FUNCTION(claims_hand_back)
{
    struct words words;
    struct share share;
    int64_t slot;
    if (!take_count("hand_back", given, 6) || !take_position(arguments[1], &share) ||
        !take_grains(arguments[2], arguments[3], &share) || !take_slot(arguments[4], &slot) ||
        !open_ledger(&words, arguments[0]))
        return NULL;
    ledger_hand_back(words.at, share, (int)slot);
    PyBuffer_Release(&words.view);
    RETURN_NONE;
}

static bool append_owned(PyObject *found, int position, int grain)
{
    PyObject *pair = Py_BuildValue("(ii)", position, grain);
    bool is_appended = pair && PyList_Append(found, pair) == 0;
    Py_XDECREF(pair);
    return is_appended;
}

static bool collect_owned(PyObject *found, int64_t *ledger, int slot)
{
    for (int position = 0; position < LEDGER_POSITIONS; position++) {
        for (int grain = 0; grain < LEDGER_GRAINS; grain++) {
            if (ledger_is_owned(ledger, position, grain, slot) && !append_owned(found, position, grain))
                return false;
        }
    }
    return true;
}

FUNCTION(claims_owned)
{
    struct words words;
    int64_t slot;
    if (!take_count("owned", given, 2) || !take_slot(arguments[1], &slot) || !open_ledger(&words, arguments[0]))
        return NULL;
    PyObject *found = PyList_New(0);
    if (found && !collect_owned(found, words.at, (int)slot))
        Py_CLEAR(found);
    PyBuffer_Release(&words.view);
    return found;
}
