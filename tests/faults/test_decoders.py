"""Bytes that are not theirs give the readers of blocks an error, or as many entries as they were told of.

Never a crash, an endless loop, or much memory. What lies inside a pickle, or a marshal, is left alone here: to load
that is Python's part. tests/native/test_columns.py does the same to single columns. In a process of its own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

DAMAGE = r"""
import faulthandler, os, random, resource, sys
import numpy as np
from pocketflex._engine import blocks, fetching
from pocketflex._engine.failures import record
from pocketflex._engine.fetching import Fetcher
from pocketflex._engine.grains import Form
from pocketflex._engine.items import ItemReader
from pocketflex._engine.results import ResultReader
from pocketflex._engine.shm import Arena
from pocketflex._engine.source import Taken

ROUNDS = int(sys.argv[1])
WORDS = [0, 1, -1, 2, 7, 8, 16, 17, 20, 21, 24, 64, 65, 1 << 20, 1 << 31, 1 << 32, 1 << 62, (1 << 63) - 1, -(1 << 63)]
LARGE = [bytes([n]) * 20_000 for n in range(6)]
class Thing:
    def __init__(self, n): self.n = n
ITEMS = {
    "ints": list(range(50)), "floats": [n / 7 for n in range(50)], "text": [f"item {n}" for n in range(50)],
    "utf8": ["\u00e4\u00f6" * n for n in range(20)], "bytes": [bytes(n) for n in range(20)], "none": [None] * 40,
    "bools": [True, False] * 20, "mixed": [1, "a", None, 2.5, 1j, 1 << 80] * 5,
    "numbers": [np.float32(n) for n in range(40)], "plain": [[n, {n: "x"}] for n in range(30)],
    "objects": [Thing(n) for n in range(30)], "sets": [[n, {n}] for n in range(30)],
    "mixed objects": [[n, Thing({n})] for n in range(30)], "pickled": [[n, range(n)] for n in range(30)],
    "buffers": [[np.full(600, n)] for n in range(5)], "rows": np.arange(600.0).reshape(30, 20),
    "arrays": [np.full(30, n) for n in range(20)], "ragged": [np.full((n % 5, n), n) for n in range(20)],
}
class Watch:
    def begin(self, position): pass
    def refuse(self, position, error): raise error
RESULTS = {name: items for name, items in ITEMS.items() if name != "rows"} | {"failures": [[1], None, [3]]}

def soft_parts(view):
    'The bytes that are no pickle and no marshal: header, table, columns, addresses, tables of entries.'
    words = view[: len(view) // 8 * 8].cast("q")
    parts = [(0, 64 + 32 * words[1])]
    for grain in range(words[1]):
        form, at, nbytes, count = words[8 + 4 * grain : 12 + 4 * grain]
        if form == Form.PICKLED:
            nbytes = 24 * count + 16 * view[at : at + 24 * count].cast("Q")[3 * count - 1]
        elif form in (Form.PLAIN, Form.MIXED, Form.OBJECTS):
            nbytes = 8 if form == Form.OBJECTS else 0
        parts.append((at, at + (5 if form == Form.MARSHAL else nbytes)))
    return [(begin, end) for begin, end in parts if begin < end]

def damage(view, parts, chance):
    for _ in range(chance.randint(1, 3)):
        begin, end = chance.choice(parts[:1] * len(parts) + parts)
        at = chance.randrange(begin, end)
        if chance.random() < 0.6 and end - begin >= 8:
            at = min(at // 8 * 8, (end - 8) // 8 * 8)
            word = chance.choice([chance.choice(WORDS), chance.randrange(4096)])
            view[at : at + 8] = word.to_bytes(8, "little", signed=True)
        else:
            view[at] = chance.randrange(256)

def read_items(block, memory):
    reader = ItemReader(block.region, memory, block.length, Fetcher(os.getpid()))
    grains = len(reader._places)
    if chance.random() < 0.3:
        return reader.sequence(0, grains)
    found = []
    for grain in range(grains):
        for first, stop in reader.cuts(grain):
            piece = reader.piece(grain, first, stop)
            found += [0] * piece[-1] if isinstance(piece, tuple) else piece
    return found

def read_results(block, memory):
    reader = ResultReader(block.region, memory(block.region.segment), block.length, lambda: None)
    if chance.random() < 0.3 and (rows := reader.array()) is not None:
        return rows
    results = [None] * block.length
    reader.read(results, 0)
    return results

def attack(make, read):
    arena, refused = Arena(), 0
    block = make(arena)
    memory = lambda number: arena._segments[number].map
    view = arena.view(block.region)
    whole, parts = bytes(view), soft_parts(view)
    after = arena.allocate(64)
    arena.view(after)[:] = b"\xaa" * 64
    assert len(read(block, memory)) == block.length
    for _ in range(ROUNDS):
        view[:] = whole
        damage(view, parts, chance)
        try:
            found = read(block, memory)
        except Exception:
            refused += 1
        else:
            assert len(found) == block.length, (len(found), block.length)
        assert bytes(arena.view(after)) == b"\xaa" * 64
    view.release()
    return refused

faulthandler.dump_traceback_later(100, exit=True)
chance = random.Random(5)
refused = 0
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for items in ITEMS.values():
    refused += attack(lambda arena: blocks.encode_items(arena, Taken(items, 0, len(items)), 7, 1 << 20), read_items)
for items in (LARGE, np.zeros((40, 400)), [np.zeros(3000)] * 6):
    refused += attack(lambda arena: fetching.refer(arena, Taken(items, 0, len(items)), 3), read_items)
for name, results in RESULTS.items():
    failed = {1: record(ValueError("no"))} if name == "failures" else {}
    refused += attack(lambda arena: blocks.encode_results(arena, list(results), failed, Watch()), read_results)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(refused > ROUNDS, grown < 100_000 or grown)
"""


@pytest.mark.parametrize("no_native", ["0", "1"], ids=["native", "twin"])
def test_damaged_blocks_are_refused_or_give_what_was_promised(
    run_script: Callable[..., subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch, no_native: str
) -> None:
    monkeypatch.setenv("POCKETFLEX_NO_NATIVE", no_native)
    monkeypatch.delenv("POCKETFLEX_REQUIRE_NATIVE", raising=False)
    done = run_script(DAMAGE, timeout=120, arguments=("200",))
    assert (done.returncode, done.stdout, done.stderr) == (0, "True True\n", "")
