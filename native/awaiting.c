/* The loop over async items that do not suspend, or not yet.
 *
 * To await a coroutine costs the interpreter more than to run a small one to its end. So each is sent its first None
 * from here; one that then suspends is handed out with what it has yielded, for the caller to go on with. All of it
 * happens within one step of the caller's task: what the coroutine sees is what it would see if it were awaited.
 */
#include "functions.h" /* Python.h comes first: it has the C library declare POSIX */

#include "calls.h"

enum { BETWEEN_ITEMS = -1 };

struct awaiting {
    PyObject *function;
    PyObject *items; /* an iterator */
    PyObject *results;
    int64_t *index; /* of the item that is run */
    struct pace pace;
};

/* Makes a place for the next result. */
static bool make_place(struct awaiting *loop)
{
    *loop->index = PyList_Size(loop->results);
    return PyList_Append(loop->results, Py_None) == 0;
}

/* Takes over the reference. The list is the caller's, but code of the user's has run since the place was made. */
static bool put(struct awaiting *loop, PyObject *result)
{
    return PyList_SetItem(loop->results, (Py_ssize_t)*loop->index, result) == 0;
}

/* A tuple of the coroutine and what it has yielded if it suspends, None if it has ended; NULL for an exception. */
static PyObject *start(struct awaiting *loop, PyObject *coroutine)
{
    PyObject *result = NULL, *suspended = NULL;
    PySendResult sent = PyIter_Send(coroutine, Py_None, &result);
    if (sent == PYGEN_RETURN)
        return put(loop, result) ? Py_NewRef(Py_None) : NULL;
    if (sent == PYGEN_NEXT) {
        suspended = PyTuple_Pack(2, coroutine, result);
        Py_DECREF(result);
    }
    return suspended;
}

/* The same of the next item; NULL without an exception where there is none. */
static PyObject *start_next(struct awaiting *loop)
{
    *loop->index = BETWEEN_ITEMS;
    PyObject *item = PyIter_Next(loop->items);
    if (!item)
        return NULL;
    PyObject *coroutine = make_place(loop) ? call_with(loop->function, item) : NULL;
    Py_DECREF(item);
    PyObject *started = coroutine ? start(loop, coroutine) : NULL;
    Py_XDECREF(coroutine);
    return started;
}

static PyObject *run(struct awaiting *loop)
{
    for (;;) {
        PyObject *started = start_next(loop);
        if (!started)
            return PyErr_Occurred() ? NULL : PyBool_FromLong(0);
        if (started != Py_None)
            return started;
        Py_DECREF(started);
        if (--loop->pace.left <= 0 && pace_is_over(&loop->pace))
            return PyBool_FromLong(1);
    }
}

FUNCTION(awaiting_await_each)
{
    struct words state;
    struct awaiting loop = {.pace = {.stride = 1, .left = 1}};
    if (!take_count("await_each", given, 5) || !take_list(arguments[2], "results") ||
        !take_int(arguments[3], &loop.pace.until) || !words_open(&state, arguments[4], 1))
        return NULL;
    loop.function = arguments[0];
    loop.items = arguments[1];
    loop.results = arguments[2];
    loop.index = state.at;
    PyObject *outcome = NULL;
    if (PyIter_Check(loop.items))
        outcome = run(&loop);
    else
        PyErr_SetString(PyExc_TypeError, "items must be an iterator");
    PyBuffer_Release(&state.view);
    return outcome;
}
