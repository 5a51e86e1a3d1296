/* Every access to memory that another process writes, and what it orders. Nothing else in this folder
 * names a memory order.
 *
 * GCC's __atomic builtins instead of <stdatomic.h>: the words lie in a mapping that Python code also
 * reads and writes, so they cannot be declared _Atomic. ThreadSanitizer understands these builtins
 * but no free-standing fence, so the ledger uses none. Words are 8 bytes at a multiple of 8; nothing
 * here takes a lock, so a process may be killed at any instruction.
 */
#ifndef POCKETFLEX_ATOMICS_H
#define POCKETFLEX_ATOMICS_H

#include <stdbool.h>
#include <stdint.h>

#if __GCC_ATOMIC_LLONG_LOCK_FREE != 2
#error "without lock-free 64-bit words a claim would not survive the death of a process; the Python twin works"
#endif

/* What the writer wrote before its word_store is seen after this. */
static inline int64_t word_load(const int64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void word_store(int64_t *word, int64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* Wraps around; only for counters that are hints. */
static inline void word_add(int64_t *word, int64_t value)
{
    __atomic_fetch_add(word, value, __ATOMIC_RELAXED);
}

/* Replaces `from` by `to`; false if the word was not `from`. */
static inline bool word_swap(int64_t *word, int64_t from, int64_t to)
{
    return __atomic_compare_exchange_n(word, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* All changes of one word of bits have one order, and whoever comes later in it sees what the earlier wrote. */
static inline void bits_set(int64_t *word, uint64_t bits)
{
    __atomic_fetch_or((uint64_t *)word, bits, __ATOMIC_ACQ_REL);
}

static inline void bits_clear(int64_t *word, uint64_t bits)
{
    __atomic_fetch_and((uint64_t *)word, ~bits, __ATOMIC_ACQ_REL);
}

/* For "I say that I sleep, then look for news" against "I write news, then look who sleeps": without it
 * both sides may see the past and the sleeper is not woken. */
static inline void full_fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* In a loop that waits: leaves the core's units to its other thread and saves power. */
static inline void cpu_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
