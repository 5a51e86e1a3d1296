"""Large items, which workers fetch from this process's memory."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
import weakref
from typing import Any

import numpy as np
import pytest

import pocketflex as pf
from pocketflex._engine import fetching
from pocketflex._engine.by_value import ship_by_value
from pocketflex._engine.ranges import Span
from pocketflex._engine.shm import Arena
from pocketflex._engine.source import Source

ship_by_value(sys.modules[__name__])  # pytest loads this file by its path, so workers cannot import it


def same(item: Any) -> Any:
    return item


def change(item: Any) -> Any:
    item[...] = 0
    return item


def is_fetched(items: Any) -> bool:
    """Whether a block of these items has only their places."""
    arena = Arena()
    try:
        return fetching.refer(arena, Source(items).take(Span(0, len(items))), 2) is not None
    finally:
        arena.close()


BIG = np.arange(40_000.0).reshape(40, 1000)
LISTS = {
    "rows": BIG,
    "rows of structures": np.zeros(5000, [("a", "i4"), ("b", "f8", 3)]),
    "times": np.arange(20_000).astype("M8[s]"),
    "deep rows": BIG.reshape(20, 2, 1000).astype(np.float32),
    "bytes": [bytes([n]) * 20_000 for n in range(30)],
    "arrays": [np.full((3, 4000), n) for n in range(20)],
    "a tuple": tuple(np.full(4000, n, np.complex64) for n in range(7)),
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("options", [{}, {"chunksize": 3}, {"timeout": 60.0}], ids=repr)
def test_they_arrive_as_they_are(name: str, options: dict[str, Any]) -> None:
    items = LISTS[name]
    assert is_fetched(items)
    results = pf.parallel_map(same, items, max_workers=2, **options)
    assert len(results) == len(items)
    for result, item in zip(results, items, strict=True):
        assert type(result) is type(item)
        assert np.array_equal(result, item)
        assert getattr(result, "dtype", None) == getattr(item, "dtype", None)


@pytest.mark.parametrize(
    "items",
    [
        BIG[:2],  # too little
        pf.share(BIG),
        BIG[:, ::2],
        np.asfortranarray(BIG),
        np.array([object()] * 20_000),
        [bytes(20_000), bytes(10)],
        [bytes(20_000), bytearray(20_000)],
        [np.zeros(4000), np.zeros(4001)],
        [np.zeros(4000), np.zeros(4000, int)],
        [b"x"],
        [1],
    ],
    ids=lambda items: str(type(items[0])),
)
def test_others_are_written_into_the_block(items: Any) -> None:
    assert not is_fetched(items)


def test_an_item_may_change_what_it_is_given_and_changes_nothing_here() -> None:
    before = BIG.copy()
    assert not np.any(pf.parallel_map(change, BIG, max_workers=2, output="array"))
    assert np.array_equal(BIG, before)
    frozen = BIG.copy()
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        pf.parallel_map(change, frozen, max_workers=2)


def test_what_is_kept_of_them_stays_as_it_was() -> None:
    kept: list[Any] = []

    def keep(row: Any) -> float:
        kept.append(row)
        return float(sum(one[0] for one in kept))

    rows = np.repeat(np.arange(1.0, 33.0), 5000).reshape(32, 5000)
    firsts = pf.parallel_map(keep, rows, max_workers=1)
    assert firsts == list(np.cumsum(np.arange(1.0, 33.0)))


def test_a_stream_gives_what_the_array_held_when_it_was_read() -> None:
    rows = BIG.copy()
    stream = pf.parallel_imap(np.min, rows, max_workers=2, chunksize=1)
    assert next(stream) == 0.0
    assert [*stream] == [float(row[0]) for row in BIG[1:]]


def test_a_chunk_is_one_array() -> None:
    class Sums(pf.BatchNode):
        def prep(self, shared: Any) -> Any:
            return shared["rows"]

        def exec_chunk(self, rows: Any) -> Any:
            assert isinstance(rows, np.ndarray)
            return rows.sum(axis=1)

        def post(self, shared: Any, prep_result: Any, sums: Any) -> Any:
            return None, {**shared, "sums": sums}

    shared = pf.run_parallel_batch(pf.Flow(start=Sums), {"rows": BIG}, max_workers=2)
    assert np.array_equal(shared["sums"], BIG.sum(axis=1))


FORBIDDEN = """
import ctypes, struct, numpy as np, pocketflex as pf

def forbid(_):
    'Have the kernel refuse process_vm_readv and preadv to this worker: seccomp(2), mode 2 with a filter.'
    numbers = {"x86_64": (310, 295), "aarch64": (270, 69)}[__import__("platform").machine()]
    load, equal, give = (0x20, 0, 0, 0), lambda number, skip: (0x15, 0, 1, number), lambda what: (0x06, 0, 0, what)
    errno = give(0x00050000 | 1)
    rules = [load]
    for number in numbers:
        rules += [equal(number, 1), errno]
    rules.append(give(0x7FFF0000))
    code = b"".join(struct.pack("HBBI", *rule) for rule in rules)
    buffer = ctypes.create_string_buffer(code)
    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("rules", ctypes.c_void_p)]
    program = Program(len(rules), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0, ctypes.get_errno()

rows = np.arange(1_000_000.0).reshape(1000, 1000)
pf.parallel_map(forbid, [0], max_workers=1)
calls = []
assert pf.parallel_map(lambda row: float(row[0]), rows, max_workers=1) == [float(row[0]) for row in rows]
items = [bytes([n]) * 50_000 for n in range(200)]
assert pf.parallel_map(lambda item: item[0], items, max_workers=1, timeout=60) == list(range(200))
class Firsts(pf.BatchNode):
    def prep(self, shared): return rows
    def exec_chunk(self, rows): return rows[:, 0].tolist()
    def post(self, shared, prepared, firsts): return None, {"firsts": firsts}
assert pf.run_parallel_batch(pf.Flow(start=Firsts), {}, max_workers=1)["firsts"] == rows[:, 0].tolist()
print("fine")
"""


def test_where_the_kernel_forbids_it_they_are_copied() -> None:
    done = subprocess.run([sys.executable, "-c", FORBIDDEN], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_the_callers_arrays_go_with_the_call_though_it_failed() -> None:
    def fail(row: Any) -> None:
        raise ValueError

    rows = np.ones((64, 10_000))
    owner = weakref.ref(rows)
    with pytest.raises(ValueError):  # noqa: PT011
        pf.parallel_map(fail, rows, max_workers=2)
    del rows
    gc.collect()
    assert owner() is None


def test_an_item_that_there_is_no_memory_for_is_the_one_that_fails() -> None:
    def limit(item: bytes) -> int:
        if len(item) < 100_000:
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))
        return len(item)

    items = [bytes(20_000), bytes(3 << 29), bytes(20_000)]
    first, second, third = pf.parallel_map(limit, items, max_workers=1, chunksize=3, on_error="collect")
    assert (first, third) == (20_000, 20_000)
    assert (second.index, second.kind) == (1, "unpicklable")
    pf.shutdown()  # the worker has too little memory for others


def test_a_chunk_of_a_read_only_array_is_read_only() -> None:
    class Looks(pf.BatchNode):
        def prep(self, shared: Any) -> Any:
            return shared["rows"]

        def exec_chunk(self, rows: Any) -> Any:
            return [rows.flags.writeable] * len(rows)

        def post(self, shared: Any, prep_result: Any, found: Any) -> Any:
            return None, {"found": found}

    for is_writable in (True, False):
        rows = BIG.copy()
        rows.flags.writeable = is_writable
        found = pf.run_parallel_batch(pf.Flow(start=Looks), {"rows": rows}, max_workers=2)["found"]
        assert found == [is_writable] * len(rows)
