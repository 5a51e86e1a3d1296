/* Single words of shared memory: load, store, fence, spin. */
#include "functions.h" /* Python.h comes first: it has the C library declare POSIX */

#include <sched.h>

#include "atomics.h"
#include "clock.h"

/* Opens a buffer and finds one word of it. */
static int64_t *open_word(struct words *words, PyObject *buffer, PyObject *word)
{
    int64_t index;
    if (!words_open(words, buffer, 0))
        return NULL;
    if (take_between(word, "word", 0, words->count - 1, &index))
        return words->at + index;
    PyBuffer_Release(&words->view);
    return NULL;
}

FUNCTION(words_load)
{
    struct words words;
    if (!take_count("load", given, 2))
        return NULL;
    const int64_t *word = open_word(&words, arguments[0], arguments[1]);
    if (!word)
        return NULL;
    int64_t value = word_load(word);
    PyBuffer_Release(&words.view);
    return PyLong_FromLongLong(value);
}

FUNCTION(words_store)
{
    struct words words;
    int64_t value;
    if (!take_count("store", given, 3) || !take_int(arguments[2], &value))
        return NULL;
    int64_t *word = open_word(&words, arguments[0], arguments[1]);
    if (!word)
        return NULL;
    word_store(word, value);
    PyBuffer_Release(&words.view);
    RETURN_NONE;
}

FUNCTION(words_fence)
{
    if (!take_count("fence", given, 0))
        return NULL;
    full_fence();
    RETURN_NONE;
}

/* A look at the clock costs as much as this many pauses of the older processors (5 ns each) and much less than
 * those of the newer (40 ns each). */
enum { PAUSES = 8 };

static bool spin_until(const int64_t *word, int64_t value, int64_t until)
{
    do {
        for (int pause = 0; pause < PAUSES; pause++) {
            if (word_load(word) != value)
                return true;
            cpu_pause();
        }
        sched_yield(); /* whoever is waited for may want this very processor */
    } while (clock_now() < until);
    return word_load(word) != value;
}

/* Callers spin for microseconds; whoever spins for long can still press Ctrl-C. */
static const int64_t SIGNALS_EVERY = 10 * 1000 * 1000;

/* 1 if the word differs, 0 if the time is over, -1 for an exception. */
static int spin_with_signals(const int64_t *word, int64_t value, int64_t until)
{
    for (;;) {
        bool is_different;
        int64_t pause = clock_after(SIGNALS_EVERY);
        Py_BEGIN_ALLOW_THREADS
        is_different = spin_until(word, value, pause < until ? pause : until);
        Py_END_ALLOW_THREADS
        if (PyErr_CheckSignals() < 0)
            return -1;
        if (is_different || until <= pause)
            return is_different;
    }
}

FUNCTION(words_spin)
{
    struct words words;
    int64_t value, nanoseconds;
    if (!take_count("spin", given, 4) || !take_int(arguments[2], &value) || !take_int(arguments[3], &nanoseconds))
        return NULL;
    const int64_t *word = open_word(&words, arguments[0], arguments[1]);
    if (!word)
        return NULL;
    int is_different = spin_with_signals(word, value, clock_after(nanoseconds));
    PyBuffer_Release(&words.view);
    return is_different < 0 ? NULL : PyBool_FromLong(is_different);
}
