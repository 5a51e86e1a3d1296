/* The ledger: which grains of which entries are whose. README.md has the format, the protocol and the
 * tolerated races; ledger.c has the order of the instructions.
 *
 * One parent publishes entries, many workers claim grains of them, and each may be killed at any
 * instruction. No function here takes a lock, waits, or trusts the memory: garbage in a ledger gives
 * wrong claims, never an access outside its LEDGER_WORDS words. Indices that are arguments are the
 * caller's to check.
 */
#ifndef POCKETFLEX_LEDGER_H
#define POCKETFLEX_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

enum { LEDGER_POSITIONS = 64, LEDGER_GRAINS = 64 };

/* The words of a ledger. */
enum {
    LEDGER_OPEN = 0,
    LEDGER_CLOSED = 1,
    LEDGER_PUBLISHED = 2,
    LEDGER_CLAIMED = 3,
    LEDGER_TOTAL = 4,
    LEDGER_WORKERS = 5,
    LEDGER_ENTRIES = 8,
    LEDGER_OWNERS = 520,
    LEDGER_WORDS = 4616,
};

/* The words of an entry. */
enum {
    ENTRY_NUMBER = 0,
    ENTRY_START = 1,
    ENTRY_COUNT = 2,
    ENTRY_GRAIN = 3,
    ENTRY_SEGMENT = 4,
    ENTRY_OFFSET = 5,
    ENTRY_NBYTES = 6,
    ENTRY_WORDS = 8,
};

/* Who owns a grain: the low 16 bits of its owner word. */
enum { LEDGER_SLOTS = 1023, OWNER_FREE = 0xFFFF, OWNER_BITS = 16 };

_Static_assert(LEDGER_ENTRIES + LEDGER_POSITIONS * ENTRY_WORDS == LEDGER_OWNERS, "the owners follow the entries");
_Static_assert(LEDGER_OWNERS + LEDGER_POSITIONS * LEDGER_GRAINS == LEDGER_WORDS, "the owners are the last words");

/* Neighbouring grains of one entry. */
struct share {
    int position;
    int first;
    int grains;
};

/* Opens the entry whose words the caller has written; false if it does not have 1 to 64 grains. */
bool ledger_publish(int64_t *ledger, int position);

/* Claims about `want` items for `slot`; false if nothing is to be had. */
bool ledger_claim(int64_t *ledger, int slot, int64_t want, struct share *share);

/* Frees those grains of `share` that `slot` owns, and has the entry looked at again in any case. */
void ledger_hand_back(int64_t *ledger, struct share share, int slot);

/* Whether `slot` owns that grain of the entry that is there now. */
bool ledger_is_owned(int64_t *ledger, int position, int grain, int slot);

#endif
