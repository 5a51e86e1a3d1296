/* From the arguments of a Python call to C values and memory. Each function sets an exception where it fails. */
#ifndef POCKETFLEX_ARGUMENTS_H
#define POCKETFLEX_ARGUMENTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

/* Not Py_RETURN_NONE: since 3.12 that takes None to be immortal, also where it is compiled for 3.11, where it is not. */
#define RETURN_NONE return Py_NewRef(Py_None)

bool take_count(const char *function, Py_ssize_t given, Py_ssize_t expected);
bool take_int(PyObject *object, int64_t *value);

/* An integer from `low` to `high`, called `name` in the error. */
bool take_between(PyObject *object, const char *name, int64_t low, int64_t high, int64_t *value);

bool take_list(PyObject *object, const char *name);

/* A buffer's memory as 64-bit words; whoever has opened one releases `view`. */
struct words {
    Py_buffer view;
    int64_t *at;
    int64_t count;
};

bool words_open(struct words *words, PyObject *buffer, int64_t least);

/* A buffer's memory from a byte on; whoever has opened one releases `view`. */
struct room {
    Py_buffer view;
    uint8_t *at;
    int64_t nbytes;
};

bool room_open(struct room *room, PyObject *buffer, PyObject *offset, bool is_written);

#endif
