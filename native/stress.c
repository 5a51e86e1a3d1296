/* A test of the ledger with threads in the place of processes, so that sanitizers see all sides.
 *
 *     gcc -std=c11 -O1 -g -pthread -fsanitize=thread stress.c ledger.c -o stress && ./stress [entries]
 *
 * Threads claim, hand back, and die at a random moment with grains claimed; the parent publishes entries in few
 * positions, so that each is used again at once, and gives the grains of the dead to others. In the end
 * every item has been run once. Then claims are made in ledgers full of garbage, which must not be read outside.
 */
#define _GNU_SOURCE
#include "ledger.h"

#include "atomics.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 4, BUSY = 3 /* positions in use: few, for the races are in using one again */ };

static int64_t *ledger;
static int64_t *runs;      /* of each item */
static int64_t left[BUSY]; /* items of the entry there that have not been run */
static int64_t dead = -1;  /* the slot of a thread that has died and waits to be buried */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void expect(bool is_true, const char *what)
{
    if (is_true)
        return;
    fprintf(stderr, "stress: %s\n", what);
    abort();
}

static int64_t *entry_words(int position)
{
    return ledger + LEDGER_ENTRIES + ENTRY_WORDS * position;
}

static void run(struct share share, int grain)
{
    const int64_t *words = entry_words(share.position);
    int64_t size = word_load(words + ENTRY_GRAIN), begin = grain * size, end = begin + size;
    if (end > word_load(words + ENTRY_COUNT))
        end = word_load(words + ENTRY_COUNT);
    expect(begin < end, "a claimed grain has no items");
    for (int64_t item = begin; item < end; item++)
        word_add(runs + word_load(words + ENTRY_START) + item, 1);
    /* releases: who sees that nothing is left may write the entry's words */
    __atomic_fetch_sub(left + share.position, end - begin, __ATOMIC_ACQ_REL);
}

/* Runs a share from its front, hands back some of its end, or dies with some of it; false if it died. */
static bool work(struct share share, int slot, uint64_t *random)
{
    uint64_t chance = next_random(random) % 64;
    int kept = chance < 16 ? (int)(next_random(random) % (uint64_t)(share.grains + 1)) : share.grains;
    if (chance < 2) { /* with all of it: a grain half run would run again */
        while (!word_swap(&dead, -1, slot))
            sched_yield();
        while (word_load(&dead) == slot)
            sched_yield();
        return false;
    }
    for (int grain = 0; grain < kept; grain++)
        run(share, share.first + grain);
    if (kept < share.grains)
        ledger_hand_back(ledger, (struct share){share.position, share.first + kept, share.grains - kept}, slot);
    return true;
}

static void *claimer(void *argument)
{
    int slot = (int)(intptr_t)argument;
    uint64_t random = 88172645463325252u + (uint64_t)slot;
    struct share share;
    while (!word_load(ledger + LEDGER_CLOSED)) {
        int64_t want = (int64_t)(next_random(&random) % 200);
        if (!ledger_claim(ledger, slot, want, &share))
            sched_yield();
        else if (!work(share, slot, &random))
            slot = slot + THREADS < LEDGER_SLOTS ? slot + THREADS : slot % THREADS; /* as another */
    }
    return NULL;
}

static void bury(void)
{
    int slot = (int)word_load(&dead);
    if (slot < 0)
        return;
    int grains = 0;
    for (int position = 0; position < BUSY; position++) {
        for (int grain = 0; grain < LEDGER_GRAINS; grain++) {
            /* what it ran and what it died with look alike here: an entry that is done with owns nothing */
            if (word_load(left + position) && ledger_is_owned(ledger, position, grain, slot)) {
                const int64_t *words = entry_words(position);
                int64_t item = word_load(words + ENTRY_START) + grain * word_load(words + ENTRY_GRAIN);
                if (word_load(runs + item))
                    continue;
                ledger_hand_back(ledger, (struct share){position, grain, 1}, slot);
                grains++;
            }
        }
    }
    expect(grains > 0, "the dead owned nothing");
    word_store(&dead, -1);
}

static int64_t publish(int position, int64_t number, int64_t start, uint64_t *random)
{
    int64_t grain = 1 + (int64_t)(next_random(random) % 8), most = grain * LEDGER_GRAINS;
    int64_t count = 1 + (int64_t)(next_random(random) % (uint64_t)most);
    int64_t *words = entry_words(position);
    word_store(words + ENTRY_START, start);
    word_store(words + ENTRY_COUNT, count);
    word_store(words + ENTRY_GRAIN, grain);
    word_store(words + ENTRY_NUMBER, number);
    word_store(left + position, count);
    expect(ledger_publish(ledger, position), "an entry was refused");
    return count;
}

static int64_t publish_all(int64_t entries)
{
    uint64_t random = 2463534242u;
    int64_t start = 0;
    for (int64_t number = 1; number <= entries;) {
        bool is_full = true;
        for (int position = 0; position < BUSY && number <= entries; position++) {
            if (word_load(left + position) == 0) {
                start += publish(position, number++, start, &random);
                is_full = false;
            }
        }
        bury();
        if (is_full)
            sched_yield();
    }
    return start;
}

static void wait_for_all(int64_t items)
{
    word_store(ledger + LEDGER_TOTAL, items);
    for (int position = 0; position < BUSY; position++) {
        while (word_load(left + position)) {
            bury();
            sched_yield();
        }
    }
    expect(word_load(ledger + LEDGER_CLAIMED) == items, "the items claimed were miscounted");
    expect(word_load(ledger + LEDGER_PUBLISHED) == items, "the items published were miscounted");
    word_store(ledger + LEDGER_CLOSED, 1);
}

static void stress_claims(int64_t entries)
{
    pthread_t threads[THREADS];
    ledger = calloc(LEDGER_WORDS, sizeof *ledger);
    runs = calloc((size_t)entries * 8 * LEDGER_GRAINS, sizeof *runs);
    expect(ledger && runs, "there is not enough memory");
    ledger[LEDGER_TOTAL] = -1;
    ledger[LEDGER_WORKERS] = THREADS;
    for (intptr_t slot = 0; slot < THREADS; slot++)
        expect(pthread_create(&threads[slot], NULL, claimer, (void *)slot) == 0, "no thread");
    int64_t items = publish_all(entries);
    wait_for_all(items);
    for (int slot = 0; slot < THREADS; slot++)
        pthread_join(threads[slot], NULL);
    for (int64_t item = 0; item < items; item++)
        expect(runs[item] == 1, "an item was not run exactly once");
    free(runs);
    free(ledger);
    printf("%lld items in %lld entries\n", (long long)items, (long long)entries);
}

static void fill_with_garbage(uint64_t *random)
{
    static const int64_t odd[] = {0, 1, -1, 63, 64, 65, INT64_MAX, INT64_MIN, OWNER_FREE, 1 << OWNER_BITS};
    for (int word = 0; word < LEDGER_WORDS; word++) {
        uint64_t chance = next_random(random);
        ledger[word] = chance % 3 ? odd[chance / 3 % (sizeof odd / sizeof *odd)] : (int64_t)next_random(random);
    }
    ledger[LEDGER_CLOSED] = 0;
}

static void stress_garbage(int rounds)
{
    uint64_t random = 362436069u;
    struct share share;
    ledger = malloc(LEDGER_WORDS * sizeof *ledger);
    expect(ledger, "there is not enough memory");
    for (int round = 0; round < rounds; round++) {
        fill_with_garbage(&random);
        int slot = (int)(next_random(&random) % LEDGER_SLOTS);
        int position = (int)(next_random(&random) % LEDGER_POSITIONS);
        ledger_publish(ledger, position);
        for (int claims = 0; claims < 64 && ledger_claim(ledger, slot, (int64_t)next_random(&random), &share); claims++)
            expect(share.grains > 0 && share.first + share.grains <= LEDGER_GRAINS, "a share is outside");
        for (int grain = 0; grain < LEDGER_GRAINS; grain++)
            ledger_is_owned(ledger, position, grain, slot);
        ledger_hand_back(ledger, (struct share){position, 0, LEDGER_GRAINS}, slot);
    }
    free(ledger);
    printf("%d ledgers of garbage\n", rounds);
}

int main(int count, char **arguments)
{
    int64_t entries = count > 1 ? atoll(arguments[1]) : 20000;
    stress_claims(entries);
    stress_garbage(entries < 2000 ? (int)entries : 2000);
    return 0;
}
