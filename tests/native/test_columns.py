"""Lists to columns and back: what arrives is what was sent, and no bytes whatever do harm."""

from __future__ import annotations

import gc
import struct
import sys
from mmap import mmap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

INT64, FLOAT64, ASCII, UTF8, BYTES, NONE, BOOL = range(1, 8)
OFFSET = 16
CANARY = b"\xaa"

ints = st.integers(-(2**63), 2**63 - 1)
floats = st.binary(min_size=8, max_size=8).map(lambda bits: struct.unpack("d", bits)[0])  # any NaN too
ascii_text = st.text(st.characters(max_codepoint=127), max_size=40)
any_text = st.text(max_size=40)
columns = st.one_of(
    *(
        st.lists(items, min_size=1)
        for items in (ints, floats, ascii_text, any_text, st.binary(), st.none(), st.booleans())
    )
)


class Count(int):
    pass


class Text(str):
    __slots__ = ()


def decoded(core: Any, kind: Any, memory: Any, offset: int, nbytes: int, count: int) -> list[Any]:
    """A column as a list of its own."""
    items = [None] * min(max(count, 0), 1 << 20)
    core.decode(kind, memory, offset, nbytes, count, items, 0)
    return items


def bits(items: list[Any]) -> list[Any]:
    """Floats as their bits, which tell NaNs and zeros apart."""
    return [struct.pack("d", item) if type(item) is float else (type(item), item) for item in items]


def expected_kind(items: list[Any]) -> int:
    kinds = {int: INT64, float: FLOAT64, bytes: BYTES, type(None): NONE, bool: BOOL}
    return kinds.get(type(items[0])) or (ASCII if all(map(str.isascii, items)) else UTF8)


def place(core: Any, items: list[Any]) -> tuple[int, int, bytearray]:
    """The column in memory of its own, with canaries before and behind."""
    memory = bytearray(CANARY * 16384)
    kind, nbytes = core.encode(items, 0, len(items), memory, OFFSET)
    assert memory[:OFFSET] == CANARY * OFFSET
    assert memory[OFFSET + nbytes :] == CANARY * (len(memory) - OFFSET - nbytes)
    return kind, nbytes, memory


@given(columns)
def test_columns_arrive_as_they_are(core: Any, items: list[Any]) -> None:
    kind, nbytes, memory = place(core, items)
    assert kind == expected_kind(items)
    assert bits(decoded(core, kind, memory, OFFSET, nbytes, len(items))) == bits(items)


@given(columns)
def test_both_write_the_same_bytes(both: tuple[Any, Any], items: list[Any]) -> None:
    assert place(both[0], items) == place(both[1], items)


@given(columns, st.data())
def test_a_slice_is_a_column_of_its_own(core: Any, items: list[Any], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(items) - 1))
    stop = data.draw(st.integers(start + 1, len(items)))
    memory = bytearray(16384)
    kind, nbytes = core.encode(items, start, stop, memory, 8)
    assert bits(decoded(core, kind, memory, 8, nbytes, stop - start)) == bits(items[start:stop])


@pytest.mark.parametrize(
    ("items", "kind", "octets"),
    [
        ([1, -2], INT64, struct.pack("qq", 1, -2)),
        ([-0.0], FLOAT64, struct.pack("d", -0.0)),
        (["ab", "", "c"], ASCII, struct.pack("III", 2, 2, 3) + b"abc"),
        (["a", "é", "b"], UTF8, struct.pack("III", 1, 3, 4) + "aéb".encode()),
        ([b"", b"\xff\0"], BYTES, struct.pack("II", 0, 2) + b"\xff\0"),
        ([None, None], NONE, b""),
        ([True, False], BOOL, b"\1\0"),
    ],
)
def test_the_layout_is_that_of_the_page(core: Any, items: list[Any], kind: int, octets: bytes) -> None:
    found, nbytes, memory = place(core, items)
    assert (found, memory[OFFSET : OFFSET + nbytes]) == (kind, octets)


@pytest.mark.parametrize("size", [*range(40), 63, 64, 65, 1000])
def test_items_of_any_size_are_copied(core: Any, size: int) -> None:
    items = [bytes(range(256)) * 4, b"x" * size, bytes(at % 251 for at in range(size))]
    kind, nbytes, memory = place(core, items)
    assert decoded(core, kind, memory, OFFSET, nbytes, 3) == items


@pytest.mark.parametrize(
    "items",
    [
        [],
        [1, 2.0],
        [1, True],
        [True, 1],
        [None, 0],
        ["a", b"a"],
        [b"a", "a"],
        [1.0, 1],
        [Count(1)],
        [1, Count(1)],
        [Text("a")],
        ["a", Text("a")],
        ["é", Text("a")],
        [2**63],
        [1, -(2**63) - 1],
        ["\ud800"],
        ["a", "é", "\udfff"],
        [bytearray(b"a")],
        [(1,)],
        [1j],
        [...],
    ],
    ids=repr,
)
def test_what_is_no_column_is_left_alone(core: Any, items: list[Any]) -> None:
    assert core.encode(items, 0, len(items), bytearray(1000), 0) == (0, 0)


@given(columns)
def test_too_little_room_is_said(core: Any, items: list[Any]) -> None:
    _, nbytes, _ = place(core, items)
    for room in {nbytes - 1, nbytes // 2, 0} - {-1, nbytes}:
        memory = bytearray(CANARY * (OFFSET + nbytes))
        with memoryview(memory)[: OFFSET + room] as view:
            assert core.encode(items, 0, len(items), view, OFFSET) == (-1, 0)
        assert memory[:OFFSET] == CANARY * OFFSET
        assert memory[OFFSET + room :] == CANARY * (nbytes - room)


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (0, 4), (2, 1), (4, 4), (0, 2**63), (-(2**63), 2**62)])
def test_a_slice_that_is_not_there_is_refused(core: Any, start: int, stop: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        core.encode([1, 2, 3], start, stop, bytearray(100), 0)


@pytest.mark.parametrize("offset", [-8, -1, 4, 7, 72, 2**40, 2**63, 2**70])
def test_an_offset_that_is_not_there_is_refused(core: Any, offset: int) -> None:
    memory = bytearray(64)
    with pytest.raises(ValueError):  # noqa: PT011
        core.encode([1], 0, 1, memory, offset)
    with pytest.raises(ValueError):  # noqa: PT011
        decoded(core, INT64, memory, offset, 0, 0)


def test_arguments_of_another_type_are_refused(core: Any, memory: mmap) -> None:
    class Items(list[Any]):
        pass

    for items in ((1, 2), Items([1]), None, iter([1])):
        with pytest.raises(TypeError):
            core.encode(items, 0, 1, memory, 0)
    with pytest.raises(TypeError):
        core.encode([1], 0.0, 1, memory, 0)
    with pytest.raises(TypeError):
        decoded(core, "1", memory, 0, 8, 1)
    with pytest.raises(BufferError):
        core.encode([1], 0, 1, bytes(8), 0)
    assert decoded(core, INT64, bytes(8), 0, 8, 1) == [0]


def test_an_index_that_shortens_the_list_is_noticed(core: Any) -> None:
    items = [1] * 100

    class Stop:
        def __index__(self) -> int:
            items.clear()
            return 100

    with pytest.raises(ValueError, match="slice"):
        core.encode(items, 0, Stop(), bytearray(1000), 0)


odd_counts = st.sampled_from([-1, 0, 1, 2**32 - 1, 2**32, 2**61, 2**62, 2**63 - 1, -(2**63), 2**63, 2**80])


@given(
    st.integers(-2, 9) | odd_counts,
    st.binary(max_size=64),
    st.integers(0, 64) | odd_counts,
    st.integers(0, 16) | odd_counts,
)
def test_garbage_is_decoded_or_refused(core: Any, kind: int, octets: bytes, nbytes: int, count: int) -> None:
    if kind == NONE and nbytes == 0 and 2**20 < count < 2**32:
        return  # that many items are there, and fill the memory
    try:
        found = decoded(core, kind, octets, 0, nbytes, count)
    except ValueError:
        return
    assert len(found) == count


@given(columns, st.data())
def test_a_damaged_column_is_decoded_or_refused_alike(
    both: tuple[Any, Any], items: list[Any], data: st.DataObject
) -> None:
    kind, nbytes, memory = place(both[0], items)
    for _ in range(data.draw(st.integers(1, 4)) if nbytes else 0):
        at = data.draw(st.integers(OFFSET, OFFSET + nbytes - 1))
        memory[at] = data.draw(st.integers(0, 255))
    count = len(items) + data.draw(st.sampled_from([0, 0, 0, -1, 1]))
    size = nbytes + data.draw(st.sampled_from([0, 0, 0, -1, 1, 4, 8]))
    answers = [_decoded(core, kind, memory, size, count) for core in both]
    assert answers[0] == answers[1]


def _decoded(core: Any, kind: int, memory: bytearray, nbytes: int, count: int) -> Any:
    try:
        return bits(decoded(core, kind, memory, OFFSET, nbytes, count))
    except ValueError:
        return ValueError


@pytest.mark.parametrize(
    ("kind", "octets", "count"),
    [
        (ASCII, struct.pack("II", 2, 1) + b"ab", 2),
        (ASCII, struct.pack("I", 3) + b"ab", 1),
        (ASCII, struct.pack("I", 1) + b"ab", 1),
        (ASCII, struct.pack("I", 2**32 - 1) + b"ab", 1),
        (ASCII, struct.pack("I", 1) + b"\x80", 1),
        (UTF8, struct.pack("I", 1) + b"\xff", 1),
        (UTF8, struct.pack("I", 3) + b"\xed\xa0\x80", 1),
        (UTF8, struct.pack("II", 1, 2) + "é".encode(), 2),
        (BYTES, b"\0\0\0", 1),
        (BOOL, b"\2", 1),
        (NONE, b"\0", 1),
        (INT64, bytes(7), 1),
        (FLOAT64, bytes(16), 1),
        (0, b"", 0),
        (8, b"", 0),
        (-1, b"", 0),
    ],
)
def test_what_is_inconsistent_is_refused(core: Any, kind: int, octets: bytes, count: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        decoded(core, kind, octets, 0, len(octets), count)


@pytest.mark.parametrize("kind", [INT64, FLOAT64, ASCII, UTF8, BYTES, NONE, BOOL])
def test_a_column_of_nothing_is_an_empty_list(core: Any, kind: int) -> None:
    assert decoded(core, kind, b"", 0, 0, 0) == []


def test_text_keeps_no_copies_of_itself(core: Any) -> None:
    """A string's UTF-8, once asked for, stays in it: at most one of a column may have that."""
    items = [f"é{number}" for number in range(100)]
    before = sum(map(sys.getsizeof, items))
    assert core.encode(items, 0, 100, bytearray(4096), 0)[0] == UTF8
    assert sum(map(sys.getsizeof, items)) - before < 20


@pytest.mark.parametrize(
    ("items", "offset", "answer"),
    [
        ([1], 0, (INT64, 8)),
        (["\ud800"], 0, (0, 0)),
        (["x" * 100], 0, (-1, 0)),
        ([1], 64, (-1, 0)),
        ([1], 7, ValueError),
        ([], 0, ValueError),
    ],
)
def test_to_write_lets_go_of_the_memory(core: Any, items: list[Any], offset: int, answer: Any) -> None:
    memory = mmap(-1, 64)
    if answer is ValueError:
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            core.encode(items, 0, 1, memory, offset)
        assert caught.value.__traceback__  # so every frame that it came through stays
    else:
        assert core.encode(items, 0, 1, memory, offset) == answer
    memory.close()  # a BufferError, if anything still referred to it


@pytest.mark.parametrize(
    ("kind", "offset", "answer"),
    [(INT64, 0, [0]), (ASCII, 0, ValueError), (99, 0, ValueError), (INT64, 7, ValueError), (INT64, 64, ValueError)],
)
def test_to_read_lets_go_of_the_memory(core: Any, kind: int, offset: int, answer: Any) -> None:
    memory = mmap(-1, 64)
    if answer is ValueError:
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            decoded(core, kind, memory, offset, 8, 1)
        assert caught.value.__traceback__
    else:
        assert decoded(core, kind, memory, offset, 8, 1) == answer
    memory.close()


def test_nothing_leaks(core: Any) -> None:
    memory = bytearray(4096)
    lists: list[list[Any]] = [
        [1, 2**40],
        [1.5],
        ["ab", "c"],
        ["é", "x"],
        [b"x"],
        [None],
        [True],
        [1, ""],
        ["\ud800"],
        [],
    ]

    def exercise() -> None:
        for items in lists:
            kind, nbytes = core.encode(items, 0, len(items), memory, 8)
            if kind:
                decoded(core, kind, memory, 8, nbytes, len(items))
                with pytest.raises(ValueError):  # noqa: PT011
                    decoded(core, kind, memory, 8, nbytes + 1, len(items))

    assert grown(exercise) < 50


def grown(exercise: Any) -> int:
    """Blocks of memory that a hundred calls have left behind."""
    for _ in range(20):
        exercise()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(100):
        exercise()
    gc.collect()
    return sys.getallocatedblocks() - before
