/* Columns: neighbouring items of one type as plain bytes. README.md has the layouts.
 *
 * Reading trusts nothing: every end is read once, so that it cannot change between its check and its
 * use, and checked against the bytes that are there. Bytes are copied in and out with memcpy, which
 * needs no alignment and is one instruction for a fixed size. What happens per item is inline.
 */
#ifndef POCKETFLEX_COLUMN_H
#define POCKETFLEX_COLUMN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum column_kind {
    COLUMN_NOT = 0,
    COLUMN_INT64 = 1,
    COLUMN_FLOAT64 = 2,
    COLUMN_ASCII = 3,
    COLUMN_UTF8 = 4,
    COLUMN_BYTES = 5,
    COLUMN_NONE = 6,
    COLUMN_BOOL = 7,
};

/* Bytes, and items, that a column stays below: its ends are 32 bits wide. */
#define COLUMN_LIMIT ((int64_t)1 << 32)

/* Bytes of an item where all have the same, -1 where they follow a table of ends. */
int column_width(int kind);

/* Whether a column of that kind may have `count` items in `nbytes` bytes, as far as that can be told without
 * reading it. */
bool column_may_be(int kind, int64_t nbytes, int64_t count);

struct text_writer {
    uint8_t *table;
    uint8_t *first;
    uint8_t *at;
    uint8_t *limit;
};

/* Begins a column of ends and bytes in `room` bytes; false if not even the table fits. */
bool text_write(struct text_writer *writer, uint8_t *at, int64_t room, int64_t count);

/* Most items are short, and a call of memcpy costs more than their copying: two words that overlap in the middle. */
static inline void copy_bytes(uint8_t *to, const char *from, size_t size)
{
    uint64_t head, tail;
    uint32_t small_head, small_tail;
    if (size > 16) {
        memcpy(to, from, size);
    } else if (size >= 8) {
        memcpy(&head, from, 8);
        memcpy(&tail, from + size - 8, 8);
        memcpy(to, &head, 8);
        memcpy(to + size - 8, &tail, 8);
    } else if (size >= 4) {
        memcpy(&small_head, from, 4);
        memcpy(&small_tail, from + size - 4, 4);
        memcpy(to, &small_head, 4);
        memcpy(to + size - 4, &small_tail, 4);
    } else if (size) {
        to[0] = (uint8_t)from[0];
        to[size / 2] = (uint8_t)from[size / 2];
        to[size - 1] = (uint8_t)from[size - 1];
    }
}

/* Appends an item; false if there is no room. */
static inline bool text_put(struct text_writer *writer, const char *bytes, int64_t size)
{
    if (size > writer->limit - writer->at)
        return false;
    copy_bytes(writer->at, bytes, (size_t)size);
    writer->at += size;
    uint32_t end = (uint32_t)(writer->at - writer->first);
    memcpy(writer->table, &end, sizeof end);
    writer->table += sizeof end;
    return true;
}

struct text_reader {
    const uint8_t *table;
    const uint8_t *first;
    uint32_t begin;
    uint32_t size;
};

/* Begins to read a column that column_may_be. */
struct text_reader text_read(const uint8_t *at, int64_t nbytes, int64_t count);

/* The next item's bytes and their number; NULL if its end is not where one can be. */
static inline const char *text_next(struct text_reader *reader, int64_t *size)
{
    uint32_t end, begin = reader->begin;
    memcpy(&end, reader->table, sizeof end);
    __asm__("" : "+r"(end)); /* read once: another process could change it after the check */
    if (end < begin || end > reader->size)
        return NULL;
    reader->table += sizeof end;
    reader->begin = end;
    *size = end - begin;
    return (const char *)reader->first + begin;
}

/* Whether the items that were read are all the bytes. */
static inline bool text_is_read(const struct text_reader *reader)
{
    return reader->begin == reader->size;
}

#endif
