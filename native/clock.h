/* The clock that parent and workers share: CLOCK_MONOTONIC in nanoseconds, Python's time.monotonic_ns(). */
#ifndef POCKETFLEX_CLOCK_H
#define POCKETFLEX_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* `nanoseconds` from now; the end of time instead of an overflow. */
static inline int64_t clock_after(int64_t nanoseconds)
{
    int64_t until;
    return __builtin_add_overflow(clock_now(), nanoseconds, &until) ? INT64_MAX : until;
}

#endif
