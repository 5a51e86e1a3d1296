/* The loop over the items of a claim: what a worker spends its life in.
 *
 * The function is the user's and may do anything to the lists, so each pass holds what it uses and looks at their
 * length again. An exception goes on as it is: how many results there are tells which item raised it.
 */
#include "functions.h" /* Python.h comes first: it has the C library declare POSIX */

#include "atomics.h"
#include "clock.h"

enum { SLOT_JOB = 0, SLOT_INDEX = 1, SLOT_CANCELLED = 4, SLOT_WORDS = 8 };

/* When to look at the clock. A look costs 20 ns, half of what a call of a small function does; so after every 64
 * items, but the more often the slower they are, for 64 slow ones would be too late by seconds. */
struct pace {
    int64_t until;
    int64_t looked;
    int stride;
    int left;
};

enum { STRIDE_MOST = 64, STRIDE_NANOSECONDS = 10000 };

static bool is_over(struct pace *pace)
{
    int64_t now = clock_now();
    bool is_quick = now - pace->looked < STRIDE_NANOSECONDS;
    pace->looked = now;
    pace->stride = !is_quick ? 1 : pace->stride < STRIDE_MOST ? 2 * pace->stride : STRIDE_MOST;
    pace->left = pace->stride;
    return now > pace->until;
}

struct loop {
    PyObject *function;
    PyObject *items;
    PyObject *results;
    int64_t *slot;
    uint64_t index; /* of items[0]; wraps around instead of overflowing */
    struct pace pace;
};

static bool is_cancelled(const int64_t *slot)
{
    return word_load(slot + SLOT_CANCELLED) == word_load(slot + SLOT_JOB);
}

/* In the stable ABI since 3.12. The interpreter of 3.11 has it too, only its headers do not say so to whoever asks
 * for the limited API; what they do say costs 5 ns more, a tenth of the call of a small function. */
#if PY_VERSION_HEX < 0x030C0000 || Py_LIMITED_API < 0x030C0000
extern PyObject *PyObject_Vectorcall(PyObject *function, PyObject *const *arguments, size_t given, PyObject *names);
#endif
static const size_t MAY_USE_PLACE_BEFORE = (size_t)1 << (8 * sizeof(size_t) - 1);

static bool call_one(const struct loop *loop, Py_ssize_t at, PyObject *item)
{
    PyObject *arguments[] = {NULL, item};
    Py_INCREF(item); /* whoever holds it, the list may let go of it */
    word_store(loop->slot + SLOT_INDEX, (int64_t)(loop->index + (uint64_t)at));
    PyObject *result = PyObject_Vectorcall(loop->function, arguments + 1, 1 | MAY_USE_PLACE_BEFORE, NULL);
    Py_DECREF(item);
    bool is_appended = result && PyList_Append(loop->results, result) == 0;
    Py_XDECREF(result);
    return is_appended;
}

/* Whether the loop ends before the next item: 1, 0, or -1 for an exception. A function in C does not look for
 * signals, so the loop does; only while there is a next item, which an exception is taken to be of. */
static int is_ending(struct loop *loop)
{
    if (is_cancelled(loop->slot))
        return 1;
    if (loop->pace.left > 0)
        return 0;
    return is_over(&loop->pace) ? 1 : PyErr_CheckSignals();
}

/* The position after the last item that was run, -1 for an exception. */
static Py_ssize_t run_loop(struct loop *loop, Py_ssize_t at)
{
    Py_ssize_t size = PyList_Size(loop->items);
    for (; at < size || at < (size = PyList_Size(loop->items)); at++) {
        int ending = is_ending(loop);
        if (ending)
            return ending < 0 ? -1 : at;
        PyObject *item = PyList_GetItem(loop->items, at);
        if (!item) { /* the list has been shortened */
            PyErr_Clear();
            return at;
        }
        if (!call_one(loop, at, item))
            return -1;
        loop->pace.left--;
    }
    return at;
}

FUNCTION(loop_call_each)
{
    struct words words;
    int64_t at, index, until;
    if (!take_count("call_each", given, 7) || !take_list(arguments[1], "items") || !take_list(arguments[3], "results"))
        return NULL;
    if (!take_between(arguments[2], "at", 0, PY_SSIZE_T_MAX, &at) || !take_int(arguments[5], &index) ||
        !take_int(arguments[6], &until) || !words_open(&words, arguments[4], SLOT_WORDS))
        return NULL;
    struct loop loop = {.function = arguments[0], .items = arguments[1], .results = arguments[3], .slot = words.at,
                        .index = (uint64_t)index, .pace = {.until = until, .stride = 1, .left = 1}};
    at = run_loop(&loop, at);
    PyBuffer_Release(&words.view);
    return at < 0 ? NULL : PyLong_FromSsize_t(at);
}
