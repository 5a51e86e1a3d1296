/* What loops over items share: how they call the user's function, and when they look at the clock. */
#ifndef POCKETFLEX_CALLS_H
#define POCKETFLEX_CALLS_H

#include "arguments.h"

#include "clock.h"

/* In the stable ABI since 3.12. The interpreter of 3.11 has it too, only its headers do not say so to whoever asks
 * for the limited API; what they do say costs 5 ns more, a tenth of the call of a small function. */
#if PY_VERSION_HEX < 0x030C0000 || Py_LIMITED_API < 0x030C0000
extern PyObject *PyObject_Vectorcall(PyObject *function, PyObject *const *arguments, size_t given, PyObject *names);
#endif
static const size_t MAY_USE_PLACE_BEFORE = (size_t)1 << (8 * sizeof(size_t) - 1);

/* What `function(item)` returns. */
static inline PyObject *call_with(PyObject *function, PyObject *item)
{
    PyObject *arguments[] = {NULL, item};
    return PyObject_Vectorcall(function, arguments + 1, 1 | MAY_USE_PLACE_BEFORE, NULL);
}

/* When to look at the clock. A look costs 20 ns, half of what a call of a small function does; so after every 64
 * items, but the more often the slower they are, for 64 slow ones would be too late by seconds. */
struct pace {
    int64_t until;
    int64_t looked;
    int stride;
    int left;
};

enum { STRIDE_MOST = 64, STRIDE_NANOSECONDS = 10000 };

static inline bool pace_is_over(struct pace *pace)
{
    int64_t now = clock_now();
    bool is_quick = now - pace->looked < STRIDE_NANOSECONDS;
    pace->looked = now;
    pace->stride = !is_quick ? 1 : pace->stride < STRIDE_MOST ? 2 * pace->stride : STRIDE_MOST;
    pace->left = pace->stride;
    return now > pace->until;
}

#endif
