/* The instructions behind ledger.h, in the order that the races demand.
 *
 * A bit of OPEN is a hint, an owner word is the truth. Whoever frees a grain writes the owner first
 * and sets the bit then; whoever finds an entry empty clears the bit first and looks at the owners
 * then. Both change the same word, so one comes second: either the bit stays set, or the second look
 * sees the free grain and sets it again. So no free grain stays hidden, however late a clearer is, unless
 * a process dies between its two steps: for that the parent hands back a share of every entry after a death.
 *
 * The number in an owner word makes a claim on a recycled entry fail: numbers only rise, and there are 47
 * bits of them, so no owner word returns to a former value. From its first grain until its last outcome a
 * claimer pins the entry, as the parent recycles none with grains outstanding; what a claimer has read
 * before that may belong to the entry before, so it reads again.
 */
#include "ledger.h"

#include "atomics.h"

/* What a claimer needs of an entry, each word read once: they may change under it. */
struct entry {
    int64_t number;
    int64_t count;
    int64_t grain;
    int grains; /* that have an owner word; 0 for garbage */
};

static int64_t *entry_words(int64_t *ledger, int position)
{
    return ledger + LEDGER_ENTRIES + position * ENTRY_WORDS;
}

static int64_t *owner_of(int64_t *ledger, int position, int grain)
{
    return ledger + LEDGER_OWNERS + position * LEDGER_GRAINS + grain;
}

static uint64_t bit_of(int position)
{
    return (uint64_t)1 << position;
}

/* Shifted without a sign, as the number may be garbage. */
static int64_t owned_by(const struct entry *entry, int slot)
{
    return (int64_t)((uint64_t)entry->number << OWNER_BITS | (uint64_t)slot);
}

static struct entry read_entry(int64_t *ledger, int position)
{
    const int64_t *words = entry_words(ledger, position);
    struct entry entry = {.number = word_load(words + ENTRY_NUMBER),
                          .count = word_load(words + ENTRY_COUNT),
                          .grain = word_load(words + ENTRY_GRAIN)};
    if (entry.count > 0 && entry.grain > 0) {
        int64_t grains = entry.count / entry.grain + (entry.count % entry.grain != 0);
        entry.grains = grains < LEDGER_GRAINS ? (int)grains : LEDGER_GRAINS;
    }
    return entry;
}

static int64_t items_before(const struct entry *entry, int grain)
{
    int64_t items;
    bool is_beyond = __builtin_mul_overflow(entry->grain, (int64_t)grain, &items);
    return is_beyond || items > entry->count ? entry->count : items;
}

static int64_t items_in(const struct entry *entry, int first, int grains)
{
    return entry->grains ? items_before(entry, first + grains) - items_before(entry, first) : 0;
}

/* The first free grain from `from` on, LEDGER_GRAINS if there is none. */
static int find_free(int64_t *ledger, int position, const struct entry *entry, int from)
{
    int64_t free = owned_by(entry, OWNER_FREE);
    for (int grain = from; grain < entry->grains; grain++) {
        if (word_load(owner_of(ledger, position, grain)) == free)
            return grain;
    }
    return LEDGER_GRAINS;
}

static void clear_and_look_again(int64_t *ledger, int position)
{
    bits_clear(ledger + LEDGER_OPEN, bit_of(position));
    struct entry entry = read_entry(ledger, position); /* it may have been published anew */
    if (find_free(ledger, position, &entry, 0) < LEDGER_GRAINS)
        bits_set(ledger + LEDGER_OPEN, bit_of(position));
}

bool ledger_publish(int64_t *ledger, int position)
{
    struct entry entry = read_entry(ledger, position);
    if (entry.grains == 0 || items_before(&entry, entry.grains) < entry.count)
        return false;
    for (int grain = 0; grain < entry.grains; grain++)
        word_store(owner_of(ledger, position, grain), owned_by(&entry, OWNER_FREE));
    word_add(ledger + LEDGER_PUBLISHED, entry.count);
    bits_set(ledger + LEDGER_OPEN, bit_of(position));
    return true;
}

/* The open entry with the lowest number, for outcomes are wanted in order; -1 if none is open. */
static int find_oldest(int64_t *ledger)
{
    int oldest = -1;
    int64_t lowest = 0;
    for (uint64_t open = (uint64_t)word_load(ledger + LEDGER_OPEN); open; open &= open - 1) {
        int position = __builtin_ctzll(open);
        int64_t number = word_load(entry_words(ledger, position) + ENTRY_NUMBER);
        if (oldest < 0 || number < lowest) {
            oldest = position;
            lowest = number;
        }
    }
    return oldest;
}

/* At most half of an even share of what is left (guided self-scheduling): shares shrink towards the end,
 * where one large share would have everybody wait for one worker. */
static int64_t fair_items(int64_t *ledger, int64_t want)
{
    int64_t total = word_load(ledger + LEDGER_TOTAL);
    if (total < 0)
        return want;
    int64_t left, workers = word_load(ledger + LEDGER_WORKERS);
    if (__builtin_sub_overflow(total, word_load(ledger + LEDGER_CLAIMED), &left))
        left = INT64_MAX;
    int64_t fair = left / 2 / (workers > 1 ? workers : 1);
    return fair < want ? fair : want;
}

/* Claims neighbouring grains from `first` on, which was free a moment ago; how many it got. */
static int take_grains(int64_t *ledger, int slot, int64_t want, int position, int first)
{
    struct entry entry = read_entry(ledger, position);
    if (!word_swap(owner_of(ledger, position, first), owned_by(&entry, OWNER_FREE), owned_by(&entry, slot)))
        return 0;
    entry = read_entry(ledger, position); /* pinned from here on */
    int64_t most = fair_items(ledger, want) / (entry.grain > 0 ? entry.grain : 1);
    int end = first + 1;
    while (end < entry.grains && end - first < most &&
           word_swap(owner_of(ledger, position, end), owned_by(&entry, OWNER_FREE), owned_by(&entry, slot)))
        end++;
    word_add(ledger + LEDGER_CLAIMED, items_in(&entry, first, end - first));
    /* the next grain is nearly always free, so most claims look at one word more */
    if (find_free(ledger, position, &entry, end) == LEDGER_GRAINS)
        clear_and_look_again(ledger, position);
    return end - first;
}

bool ledger_claim(int64_t *ledger, int slot, int64_t want, struct share *share)
{
    while (!word_load(ledger + LEDGER_CLOSED)) {
        int position = find_oldest(ledger);
        if (position < 0)
            break;
        struct entry entry = read_entry(ledger, position);
        int first = find_free(ledger, position, &entry, 0);
        if (first == LEDGER_GRAINS) {
            clear_and_look_again(ledger, position);
            continue;
        }
        *share = (struct share){position, first, take_grains(ledger, slot, want, position, first)};
        if (share->grains)
            return true;
    }
    return false;
}

void ledger_hand_back(int64_t *ledger, struct share share, int slot)
{
    struct entry entry = read_entry(ledger, share.position);
    for (int grain = share.first; grain < share.first + share.grains && grain < entry.grains; grain++) {
        if (word_swap(owner_of(ledger, share.position, grain), owned_by(&entry, slot), owned_by(&entry, OWNER_FREE)))
            word_add(ledger + LEDGER_CLAIMED, -items_in(&entry, grain, 1));
    }
    bits_set(ledger + LEDGER_OPEN, bit_of(share.position));
}

bool ledger_is_owned(int64_t *ledger, int position, int grain, int slot)
{
    struct entry entry = read_entry(ledger, position);
    return grain < entry.grains && word_load(owner_of(ledger, position, grain)) == owned_by(&entry, slot);
}
