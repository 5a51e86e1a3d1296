/* pocketflex._native: what the engine cannot do, or not fast enough, in Python.
 *
 * Words, claims and columns of shared memory, the loops over items, arrays side by side, and reading the parent's
 * memory. Built against the limited API of Python 3.11, so one build serves every later version. There is no
 * state: functions and constants, nothing else. Each has a twin of the same meaning in pocketflex/_engine/twin.py,
 * and its signature in pocketflex/_native.pyi. ledger.c and column.c know nothing of Python.
 */
#include "functions.h"

#include "ledger.h"

#define ENTRY(name, function, signature, text)                                                                         \
    {name, (PyCFunction)(void (*)(void))(function), METH_FASTCALL, name signature "\n--\n\n" text}

static PyMethodDef FUNCTIONS[] = {
    ENTRY("load", words_load, "(buffer, word, /)", "A word; what was written before it was stored is seen after."),
    ENTRY("store", words_store, "(buffer, word, value, /)",
          "Store a word; whoever loads it sees what was written before."),
    ENTRY("fence", words_fence, "()", "What was written before is seen by all before anything after is read."),
    ENTRY("spin", words_spin, "(buffer, word, value, nanoseconds, /)",
          "Wait until a word differs from a value, or for a time; whether it differs."),
    ENTRY("publish", claims_publish, "(ledger, position, lock, /)", "Open the entry whose words have been written."),
    ENTRY("claim", claims_claim, "(ledger, slot, want, lock, /)",
          "Claim grains of about that many items: (position, first grain, grains), or None."),
    ENTRY("hand_back", claims_hand_back, "(ledger, position, first_grain, grains, slot, lock, /)",
          "Free those of the grains that the slot owns."),
    ENTRY("owned", claims_owned, "(ledger, slot, /)", "Every (position, grain) that the slot owns."),
    ENTRY("encode", columns_encode, "(items, start, stop, buffer, offset, /)",
          "Write items[start:stop] as a column: (kind, bytes), (0, 0) if they are none, (-1, 0) if there is no room."),
    ENTRY("decode", columns_decode, "(kind, buffer, offset, nbytes, count, items, at, /)",
          "Read a column into items[at:at + count]."),
    ENTRY("call_each", loop_call_each,
          "(function, items, at, stop, results, slot, index, until, room, offset, state, /)",
          "Call a function for each of items[at:stop]; `state` then has where it ended and what is in the room."),
    ENTRY("await_each", awaiting_await_each, "(function, items, results, until, state, /)",
          "Run coroutines until one suspends, (coroutine, yielded), the time is over, True, or the items, False."),
    ENTRY("locate", fetch_locate, "(items, buffer, at, /)", "Write the address and the length of each item's bytes."),
    ENTRY("admit", fetch_admit, "(pid, /)", "Let a process and those below it read this one's memory."),
    ENTRY("fetch", fetch_fetch, "(pid, buffer, at, count, into, /)",
          "Read pieces of another process's memory, one behind the other."),
    ENTRY("fetch_bytes", fetch_bytes, "(pid, address, nbytes, /)", "Bytes of another process's memory."),
    ENTRY("alike", stack_alike, "(items, kind, /)",
          "Whether all are exactly of that type, of one dtype and shape, contiguous, and may be written to."),
    ENTRY("stack", stack_stack, "(items, buffer, offset, /)", "Write the bytes of each item, one behind the other."),
    ENTRY("call_uncollected", collecting_call_uncollected, "(function, argument, /)",
          "What a function in C returns, during which no garbage is collected."),
    ENTRY("build", objects_build, "(kind, attributes, /)",
          "Put an object of a class in the place of each dict of its attributes."),
    ENTRY("are_plain", plain_are_plain, "(items, kinds, /)",
          "Whether all are plain, and share nothing that can be changed; a type if that is not known."),
    {NULL, NULL, 0, NULL},
};

static int add_constants(PyObject *module)
{
    return PyModule_AddIntConstant(module, "LEDGER_WORDS", LEDGER_WORDS);
}

static PyModuleDef_Slot SLOTS[] = {
    {Py_mod_exec, add_constants},
    {0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pocketflex._native",
    .m_doc = "Words, claims and columns of shared memory, and the loop over items.",
    .m_methods = FUNCTIONS,
    .m_slots = SLOTS,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&MODULE);
}
