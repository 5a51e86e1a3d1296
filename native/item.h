/* Items of a column, one at a time: from a Python value to bytes and back. column.h has the bytes.
 *
 * Inline, for it happens once per item; where `kind` is a constant to the compiler, what is left is that kind's
 * part alone. Nothing here runs Python code, but what a caller does between two items may.
 */
#ifndef POCKETFLEX_ITEM_H
#define POCKETFLEX_ITEM_H

#include "arguments.h"

#include "column.h"

#define INLINE static inline __attribute__((always_inline))

/* --- writing --------------------------------------------------------------------------------- */

enum put {
    PUT_DONE = 1,
    PUT_NOT = 0,      /* it does not belong into this column */
    PUT_NO_ROOM = -1, /* a longer buffer would do */
};

struct column_writer {
    int kind; /* COLUMN_NOT before the first item */
    uint8_t *begin;
    uint8_t *at;
    int64_t room;
    int64_t most; /* items */
    int64_t count;
    bool is_cut; /* the buffer has more room than a column may have bytes */
    struct text_writer text;
};

struct column_writer column_write(uint8_t *at, int64_t nbytes, int64_t most);

/* Takes the kind that the first item wants. */
enum put column_begin(struct column_writer *writer, PyObject *first);

/* Bytes of the column; a table of ends that was made for more items is made shorter. */
int64_t column_end(struct column_writer *writer);

/* One that is not ASCII, or follows such a one, is encoded on its own. */
enum put column_put_utf8(struct column_writer *writer, PyObject *item);

INLINE enum put put_bytes_of(struct column_writer *writer, const char *bytes, Py_ssize_t size)
{
    if (text_put(&writer->text, bytes, size))
        return PUT_DONE;
    return writer->is_cut ? PUT_NOT : PUT_NO_ROOM;
}

INLINE enum put put_int(struct column_writer *writer, PyObject *item)
{
    int overflow;
    if (Py_TYPE(item) != &PyLong_Type)
        return PUT_NOT;
    int64_t value = PyLong_AsLongLongAndOverflow(item, &overflow);
    if (overflow)
        return PUT_NOT;
    memcpy(writer->at, &value, 8);
    writer->at += 8;
    return PUT_DONE;
}

INLINE enum put put_float(struct column_writer *writer, PyObject *item)
{
    if (Py_TYPE(item) != &PyFloat_Type)
        return PUT_NOT;
    double value = PyFloat_AsDouble(item);
    memcpy(writer->at, &value, 8);
    writer->at += 8;
    return PUT_DONE;
}

INLINE enum put put_bool(struct column_writer *writer, PyObject *item)
{
    if (item != Py_True && item != Py_False)
        return PUT_NOT;
    *writer->at++ = item == Py_True;
    return PUT_DONE;
}

INLINE enum put put_bytes(struct column_writer *writer, PyObject *item)
{
    char *bytes;
    Py_ssize_t size;
    if (Py_TYPE(item) != &PyBytes_Type)
        return PUT_NOT;
    PyBytes_AsStringAndSize(item, &bytes, &size);
    return put_bytes_of(writer, bytes, size);
}

/* PyUnicode_AsUTF8AndSize points into an ASCII string, for nothing; of any other it leaves a copy in the string for
 * as long as that lives, in memory that the user did not ask for. The limited API does not tell which it is before.
 * So the first one that is not ASCII, where the lengths differ, costs a copy that stays, one a column, and from
 * there on each is encoded on its own, which takes three times as long, and nothing stays. */
INLINE enum put put_string(struct column_writer *writer, PyObject *item)
{
    Py_ssize_t size;
    if (Py_TYPE(item) != &PyUnicode_Type)
        return PUT_NOT;
    const char *bytes = PyUnicode_AsUTF8AndSize(item, &size);
    if (!bytes || PyUnicode_GetLength(item) != size)
        return column_put_utf8(writer, item);
    return put_bytes_of(writer, bytes, size);
}

INLINE enum put put_kind(struct column_writer *writer, int kind, PyObject *item)
{
    switch (kind) {
    case COLUMN_INT64:
        return put_int(writer, item);
    case COLUMN_FLOAT64:
        return put_float(writer, item);
    case COLUMN_BOOL:
        return put_bool(writer, item);
    case COLUMN_NONE:
        return item == Py_None ? PUT_DONE : PUT_NOT;
    case COLUMN_BYTES:
        return put_bytes(writer, item);
    case COLUMN_ASCII:
        return put_string(writer, item);
    case COLUMN_UTF8:
        return column_put_utf8(writer, item);
    default:
        return PUT_NOT;
    }
}

/* Appends an item of any type. */
INLINE enum put column_put(struct column_writer *writer, PyObject *item)
{
    enum put put = writer->count ? PUT_DONE : column_begin(writer, item);
    if (put == PUT_DONE)
        put = put_kind(writer, writer->kind, item);
    writer->count += put == PUT_DONE;
    return put;
}

/* --- reading --------------------------------------------------------------------------------- */

struct column_reader {
    int kind;
    int64_t count;
    const uint8_t *at;
    struct text_reader text;
};

/* Begins to read at an item; false, and a ValueError, where the bytes are no such column. */
bool column_read(struct column_reader *reader, int64_t kind, const uint8_t *at, int64_t nbytes, int64_t count,
                 int64_t first);

/* Sets the ValueError. */
void column_refuse(void);

typedef PyObject *(*make_text)(const char *bytes, Py_ssize_t size, const char *errors);

/* Above it a new object seldom has memory that has been used before. */
#define LONG_BYTES ((int64_t)1 << 16)

/* A bytes object of many bytes. */
PyObject *column_long_bytes(const char *bytes, int64_t size);

INLINE PyObject *take_text(struct column_reader *reader, make_text make)
{
    int64_t size;
    const char *bytes = text_next(&reader->text, &size);
    if (bytes && make)
        return make(bytes, size, NULL);
    if (bytes)
        return size < LONG_BYTES ? PyBytes_FromStringAndSize(bytes, size) : column_long_bytes(bytes, size);
    column_refuse();
    return NULL;
}

INLINE PyObject *take_bool(const uint8_t *at)
{
    uint8_t value = *at;
    if (value <= 1)
        return PyBool_FromLong(value);
    column_refuse();
    return NULL;
}

/* A new reference to the value of item `index`, NULL for an exception. Text is taken in order. */
INLINE PyObject *take_kind(struct column_reader *reader, int kind, int64_t index)
{
    long long number;
    double real;
    switch (kind) {
    case COLUMN_INT64:
        memcpy(&number, reader->at + 8 * index, 8);
        return PyLong_FromLongLong(number);
    case COLUMN_FLOAT64:
        memcpy(&real, reader->at + 8 * index, 8);
        return PyFloat_FromDouble(real);
    case COLUMN_BOOL:
        return take_bool(reader->at + index);
    case COLUMN_NONE:
        Py_INCREF(Py_None);
        return Py_None;
    case COLUMN_ASCII: /* not as Latin-1, which reads the bytes twice and takes any */
        return take_text(reader, PyUnicode_DecodeASCII);
    case COLUMN_UTF8:
        return take_text(reader, PyUnicode_DecodeUTF8);
    default:
        return take_text(reader, NULL);
    }
}

#endif
