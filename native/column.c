/* The parts of column.h that happen once a column. */
#include "column.h"

static const int64_t END = sizeof(uint32_t);

int column_width(int kind)
{
    switch (kind) {
    case COLUMN_INT64:
    case COLUMN_FLOAT64:
        return 8;
    case COLUMN_BOOL:
        return 1;
    case COLUMN_NONE:
        return 0;
    default:
        return -1;
    }
}

bool column_may_be(int kind, int64_t nbytes, int64_t count)
{
    if (kind < COLUMN_INT64 || kind > COLUMN_BOOL)
        return false;
    if (nbytes < 0 || nbytes >= COLUMN_LIMIT || count < 0 || count >= COLUMN_LIMIT)
        return false;
    int width = column_width(kind);
    return width < 0 ? nbytes >= count * END : nbytes == count * width;
}

bool text_write(struct text_writer *writer, uint8_t *at, int64_t room, int64_t count)
{
    if (room < count * END)
        return false;
    uint8_t *first = at + count * END;
    *writer = (struct text_writer){.table = at, .first = first, .at = first, .limit = at + room};
    return true;
}

struct text_reader text_read(const uint8_t *at, int64_t nbytes, int64_t count)
{
    const int64_t table = count * END;
    return (struct text_reader){.table = at, .first = at + table, .begin = 0, .size = (uint32_t)(nbytes - table)};
}
