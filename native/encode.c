/* From exact values of one type to a column: of a list at once, or for the loop one after the other.
 *
 * Nothing here runs Python code before the last item is read, so the list cannot change meanwhile. The type of
 * the first item decides the kind; the first item that does not fit in ends the attempt.
 */
#include "functions.h"

#include "item.h"

struct column_writer column_write(uint8_t *at, int64_t nbytes, int64_t most)
{
    bool is_cut = nbytes >= COLUMN_LIMIT;
    return (struct column_writer){.kind = COLUMN_NOT, .begin = at, .at = at, .most = most, .is_cut = is_cut,
                                  .room = is_cut ? COLUMN_LIMIT - 1 : nbytes};
}

static int kind_of(PyObject *item)
{
    PyTypeObject *type = Py_TYPE(item);
    if (type == &PyLong_Type)
        return COLUMN_INT64;
    if (type == &PyUnicode_Type)
        return COLUMN_ASCII;
    if (type == &PyFloat_Type)
        return COLUMN_FLOAT64;
    if (type == &PyBytes_Type)
        return COLUMN_BYTES;
    if (type == &PyBool_Type)
        return COLUMN_BOOL;
    return item == Py_None ? COLUMN_NONE : COLUMN_NOT;
}

enum put column_begin(struct column_writer *writer, PyObject *first)
{
    int width = column_width(writer->kind = kind_of(first));
    if (writer->kind == COLUMN_NOT || writer->most >= COLUMN_LIMIT)
        return PUT_NOT;
    bool has_room = width < 0 ? text_write(&writer->text, writer->begin, writer->room, writer->most)
                              : width * writer->most <= writer->room;
    return has_room ? PUT_DONE : writer->is_cut ? PUT_NOT : PUT_NO_ROOM;
}

/* A lone surrogate has no UTF-8; anything else that went wrong, such as a lack of memory, goes wrong in pickle too. */
enum put column_put_utf8(struct column_writer *writer, PyObject *item)
{
    char *bytes;
    Py_ssize_t size;
    if (Py_TYPE(item) != &PyUnicode_Type)
        return PUT_NOT;
    PyErr_Clear();
    PyObject *encoded = PyUnicode_AsUTF8String(item);
    if (!encoded) {
        PyErr_Clear();
        return PUT_NOT;
    }
    PyBytes_AsStringAndSize(encoded, &bytes, &size);
    enum put put = put_bytes_of(writer, bytes, size);
    Py_DECREF(encoded);
    if (put == PUT_DONE)
        writer->kind = COLUMN_UTF8;
    return put;
}

int64_t column_end(struct column_writer *writer)
{
    if (writer->count == 0)
        return 0;
    if (column_width(writer->kind) >= 0)
        return writer->at - writer->begin;
    int64_t nbytes = writer->text.at - writer->text.first;
    uint8_t *first = writer->text.table; /* where the table really ends */
    memmove(first, writer->text.first, (size_t)nbytes);
    return first + nbytes - writer->begin;
}

INLINE enum put put_all(struct column_writer *writer, int kind, PyObject *items, Py_ssize_t start)
{
    for (int64_t index = 0; index < writer->most; index++) {
        enum put put = put_kind(writer, kind == COLUMN_ASCII ? writer->kind : kind,
                                PyList_GetItem(items, start + index));
        if (put != PUT_DONE)
            return put;
    }
    writer->count = writer->most;
    return PUT_DONE;
}

static enum put encode_column(struct column_writer *writer, PyObject *items, Py_ssize_t start)
{
    if (writer->most == 0)
        return PUT_NOT;
    enum put put = column_begin(writer, PyList_GetItem(items, start));
    if (put != PUT_DONE)
        return put;
    switch (writer->kind) { /* a loop for each */
    case COLUMN_INT64:
        return put_all(writer, COLUMN_INT64, items, start);
    case COLUMN_FLOAT64:
        return put_all(writer, COLUMN_FLOAT64, items, start);
    case COLUMN_ASCII:
        return put_all(writer, COLUMN_ASCII, items, start);
    default:
        return put_all(writer, writer->kind, items, start);
    }
}

/* The length is looked at last, as an argument's __index__ could shorten the list. */
static bool take_slice(PyObject *const *arguments, int64_t *start, int64_t *stop)
{
    if (!take_list(arguments[0], "items") || !take_int(arguments[1], start) || !take_int(arguments[2], stop))
        return false;
    Py_ssize_t size = PyList_Size(arguments[0]);
    if (*start >= 0 && *start <= *stop && *stop <= size)
        return true;
    PyErr_Format(PyExc_ValueError, "a list of %zd items has no slice %lld:%lld", size, (long long)*start,
                 (long long)*stop);
    return false;
}

FUNCTION(columns_encode)
{
    struct room room;
    int64_t start, stop;
    if (!take_count("encode", given, 5) || !room_open(&room, arguments[3], arguments[4], true))
        return NULL;
    PyObject *encoded = NULL;
    if (take_slice(arguments, &start, &stop)) {
        struct column_writer writer = column_write(room.at, room.nbytes, stop - start);
        enum put put = encode_column(&writer, arguments[0], start);
        encoded = put == PUT_DONE ? Py_BuildValue("(iL)", writer.kind, (long long)column_end(&writer))
                                  : Py_BuildValue("(ii)", (int)put, 0);
    }
    PyBuffer_Release(&room.view);
    return encoded;
}
