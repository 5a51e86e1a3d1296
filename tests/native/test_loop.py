"""The loop over a claim's items: what it runs, where it ends, and what a function may do to it."""

from __future__ import annotations

import gc
import signal
import weakref
from array import array
from mmap import mmap
from time import monotonic_ns
from typing import Any

import pytest

from .test_columns import grown
from .test_words import Rung, ring

JOB, INDEX, CANCELLED = 0, 1, 4
NEVER = 2**63 - 1


def new_slot() -> Any:
    return array("q", [7, -1, 0, 0, -1, 0, 0, 0])


def call_each(
    core: Any, function: Any, items: Any, at: int, results: Any, slot: Any, index: int, until: int, room: Any = None
) -> int:
    """Run all items; the position of the next, or of the one that raised."""
    state = array("q", [0, 0, 0, 0])
    core.call_each(function, items, at, 2**62, results, slot, index, until, room, 0, state)
    return state[0]


def test_items_are_run_and_their_results_kept(core: Any) -> None:
    slot, results = new_slot(), ["before"]
    assert call_each(core, str, [1, 2, 3], 1, results, slot, 100, NEVER) == 3
    assert results == ["before", "2", "3"]
    assert slot == array("q", [7, 102, 0, 0, -1, 0, 0, 0])


def test_the_index_is_written_before_the_item_runs(core: Any) -> None:
    slot, seen = new_slot(), []
    call_each(core, lambda item: seen.append((item, slot[INDEX])), list("abc"), 0, [], slot, 10, NEVER)
    assert seen == [("a", 10), ("b", 11), ("c", 12)]


@pytest.mark.parametrize("at", [3, 4, 2**62])
def test_behind_the_last_item_nothing_is_run(core: Any, at: int) -> None:
    slot, results = new_slot(), []
    assert call_each(core, str, [1, 2, 3], at, results, slot, 0, NEVER) == at
    assert (results, slot[INDEX]) == ([], -1)


@pytest.mark.parametrize(("stop", "end"), [(3, 3), (2, 2), (1, 1), (0, 1), (9, 4), (2**62, 4)])
def test_it_ends_where_it_is_told_to(core: Any, stop: int, end: int) -> None:
    results, state = list[int](), array("q", bytes(32))
    core.call_each(abs, [0, -1, -2, -3], 1, stop, results, new_slot(), 0, NEVER, None, 0, state)
    assert (state[0], results) == (end, [*range(1, end)])


@pytest.mark.parametrize("stop", [-1, 2**63, "3", None])
def test_a_wrong_end_is_refused(core: Any, stop: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        core.call_each(abs, [1], 0, stop, [], new_slot(), 0, NEVER, None, 0, array("q", bytes(32)))


def test_it_ends_before_the_next_item_once_the_job_is_cancelled(core: Any) -> None:
    slot, results = new_slot(), []

    def run(item: int) -> int:
        slot[CANCELLED] = 7 if item == 2 else 6
        return item

    assert call_each(core, run, [0, 1, 2, 3], 0, results, slot, 0, NEVER) == 3
    assert results == [0, 1, 2]
    assert call_each(core, run, [0, 1, 2, 3], 3, results, slot, 0, NEVER) == 3


@pytest.mark.parametrize("until", [0, -1, -(2**63), 1])
def test_when_the_time_is_over_one_item_is_run_all_the_same(core: Any, until: int) -> None:
    results: list[int] = []
    assert call_each(core, abs, [1, 2, 3], 0, results, new_slot(), 0, until) == 1
    assert call_each(core, abs, [1, 2, 3], 1, results, new_slot(), 0, until) == 2


def test_it_ends_soon_after_the_time_is_over(core: Any) -> None:
    """Slow items are looked at one by one, however fast those before were."""
    until = monotonic_ns() + 5_000_000
    begun = []

    def run(item: int) -> None:
        begun.append(monotonic_ns())
        while item > 1000 and monotonic_ns() < begun[-1] + 20_000:
            pass

    ended = call_each(core, run, [*range(100_000)], 0, [], new_slot(), 0, until)
    assert len(begun) == ended < 100_000
    assert sum(time > until for time in begun) <= 16


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3), StopIteration(1)], ids=repr)
def test_an_exception_goes_on_as_it_is(core: Any, error: BaseException) -> None:
    slot, results = new_slot(), [None]

    def run(item: int) -> int:
        if item == 2:
            raise error
        return item

    with pytest.raises(type(error)) as caught:
        call_each(core, run, [0, 1, 2, 3], 0, results, slot, 50, NEVER)
    assert caught.value is error
    assert results == [None, 0, 1]
    assert slot[INDEX] == 52


def test_a_list_that_shrinks_is_followed_and_one_that_grows_is_not(core: Any) -> None:
    items = list(range(10))
    shrinks = lambda item: items.clear() if item == 3 else item  # noqa: E731
    assert call_each(core, shrinks, items, 0, results := [], new_slot(), 0, NEVER) == 4
    assert results == [0, 1, 2, None]
    grows = [0, 1]
    assert call_each(core, grows.append, grows, 0, [], new_slot(), 0, NEVER) == 2


def test_an_item_that_its_list_lets_go_of_lives_while_it_runs(core: Any) -> None:
    items: list[Any] = [{number} for number in range(100)]

    def run(item: set[int]) -> int:
        items[:] = []
        gc.collect()
        return item.pop()

    assert call_each(core, run, items, 5, results := [], new_slot(), 0, NEVER) == 6
    assert results == [5]


def test_results_may_be_cleared_meanwhile(core: Any) -> None:
    results: list[Any] = []
    assert call_each(core, lambda item: results.clear(), [1, 2, 3], 0, results, new_slot(), 0, NEVER) == 3
    assert results == [None]


def test_items_and_results_may_be_one_list(core: Any) -> None:
    items: list[int] = [1, 2]
    assert call_each(core, str, items, 0, items, new_slot(), 0, NEVER) == 2
    assert items == [1, 2, "1", "2"]


def test_a_function_may_call_it_again(core: Any) -> None:
    def run(depth: int) -> list[Any]:
        results: list[Any] = []
        call_each(core, run, [depth - 1] if depth else [], 0, results, new_slot(), 0, NEVER)
        return results

    assert run(3) == [[[[]]]]
    with pytest.raises(RecursionError):
        run(10**6)


class Thing:
    pass


def test_nothing_holds_on_to_items_and_results(core: Any) -> None:
    items, results = [Thing()], []
    call_each(core, lambda item: Thing(), items, 0, results, new_slot(), 0, NEVER)
    references = [weakref.ref(items.pop()), weakref.ref(results.pop())]
    assert [reference() for reference in references] == [None, None]


@pytest.mark.parametrize(("index", "at"), [(2**63 - 1, 0), (2**63 - 2, 1), (-(2**63), 0), (-1, 1)])
def test_an_index_wraps_around(core: Any, index: int, at: int) -> None:
    slot = new_slot()
    call_each(core, abs, [1, 2, 3], at, [], slot, index, NEVER)
    assert slot[INDEX] == (index + 2 + 2**63) % 2**64 - 2**63


def test_arguments_that_make_no_sense_are_refused(core: Any) -> None:
    class Items(list[Any]):
        pass

    slot = new_slot()
    for items, results in (({1}, []), ([1], ()), (Items([1]), []), ([1], Items())):
        with pytest.raises(TypeError):
            call_each(core, abs, items, 0, results, slot, 0, NEVER)
    for at, size, until in ((-1, 8, 0), (2**63, 8, 0), (0, 7, 0), (0, 8, 2**63)):
        with pytest.raises(ValueError):  # noqa: PT011
            call_each(core, abs, [1], at, [], slot[:size], 0, until)
    with pytest.raises(TypeError, match="not callable"):
        call_each(core, None, [1], 0, [], slot, 0, NEVER)
    with pytest.raises(BufferError):
        call_each(core, abs, [1], 0, [], bytes(64), 0, NEVER)


def test_the_slot_is_held_while_items_run_and_let_go_of_after(core: Any) -> None:
    slot = mmap(-1, 4096)
    slot[32:40] = b"\xff" * 8
    with pytest.raises(BufferError) as caught:
        call_each(core, lambda item: slot.close(), [1], 0, [], slot, 0, NEVER)
    slot.close()
    assert caught.value.__traceback__ is not None  # whose frames are alive


def test_a_signal_ends_a_loop_of_functions_in_c(core: Any) -> None:
    former = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(Rung):
            call_each(core, abs, [1] * 10_000_000, 0, [], new_slot(), 0, NEVER)
    finally:
        signal.signal(signal.SIGALRM, former)


def column_of(core: Any, items: list[Any]) -> tuple[int, bytearray, int, int, int]:
    memory = bytearray(64 * len(items) + 64)
    kind, nbytes = core.encode(items, 0, len(items), memory, 8)
    return kind, memory, 8, nbytes, len(items)


COLUMNS = [
    [3, -1, 2**62],
    [0.5, float("inf")],
    ["a", "", "ccc"],
    ["\xe9", "\u20ac"],
    [b"1", b""],
    [None] * 2,
    [True, False],
]


@pytest.mark.parametrize("items", COLUMNS, ids=repr)
@pytest.mark.parametrize("at", [0, 1])
def test_the_items_of_a_column_are_run_without_a_list(core: Any, items: list[Any], at: int) -> None:
    slot, seen = new_slot(), []
    results: list[Any] = []
    assert call_each(
        core, lambda item: seen.append(slot[INDEX]) or item, column_of(core, items), at, results, slot, 9, NEVER
    )
    assert (results, seen) == (items[at:], list(range(9 + at, 9 + len(items))))
    assert list(map(type, results)) == list(map(type, items[at:]))


@pytest.mark.parametrize("items", COLUMNS, ids=repr)
def test_results_of_one_type_are_written_as_a_column(core: Any, items: list[Any]) -> None:
    room, state, results = bytearray(4096), array("q", [0, 0, 0, 0]), []
    core.call_each(lambda item: item, items, 0, 99, results, new_slot(), 0, NEVER, room, 16, state)
    at, kind, nbytes, count = state
    assert (at, count, results) == (len(items), len(items), [])
    core.decode(kind, room, 16, nbytes, count, found := [None] * count, 0)
    assert found == items
    assert list(map(type, found)) == list(map(type, items))


@pytest.mark.parametrize("odd", [2**70, "x", True, None, 1.0, [1]], ids=repr)
def test_what_does_not_belong_into_the_column_goes_into_the_list_with_all_that_follows(core: Any, odd: Any) -> None:
    room, state, results = bytearray(4096), array("q", [0, 0, 0, 0]), []
    items = [1, 2, odd, 4]
    core.call_each(lambda item: item, items, 0, 99, results, new_slot(), 0, NEVER, room, 0, state)
    _, kind, nbytes, count = state
    core.decode(kind, room, 0, nbytes, count, found := [None] * count, 0) if count else (found := [])
    assert found + results == items
    assert list(map(type, found + results)) == list(map(type, items))


@pytest.mark.parametrize("size", [0, 8, 16, 24, 40])
@pytest.mark.parametrize("items", [[1, 2, 3], ["aaaaaaaa", "bbbbbbbb"], [b"12345678", b"9"]], ids=repr)
def test_where_there_is_too_little_room_the_list_takes_the_rest(core: Any, items: list[Any], size: int) -> None:
    room, state, results = bytearray(size), array("q", [0, 0, 0, 0]), []
    core.call_each(lambda item: item, items, 0, 99, results, new_slot(), 0, NEVER, room, 0, state)
    _, kind, nbytes, count = state
    assert nbytes <= size
    found: list[Any] = [None] * count
    if count:
        core.decode(kind, room, 0, nbytes, count, found, 0)
    assert found + results == items


def test_an_exception_leaves_a_column_of_what_was_before_it(core: Any) -> None:
    room, state, results = bytearray(4096), array("q", [0, 0, 0, 0]), []
    with pytest.raises(ZeroDivisionError):
        core.call_each(lambda item: f"{6 // item}", [1, 2, 0, 3], 0, 99, results, new_slot(), 0, NEVER, room, 0, state)
    at, kind, nbytes, count = state
    assert (at, count, results) == (2, 2, [])
    core.decode(kind, room, 0, nbytes, count, found := [None] * 2, 0)
    assert found == ["6", "3"]


@pytest.mark.parametrize(
    "column", [(1, bytes(8), 0, 8), (1, bytes(8), 0, 16, 2), (99, bytes(8), 0, 8, 1), (3, b"\xff" * 8, 0, 8, 1)]
)
def test_a_column_that_is_none_is_refused(core: Any, column: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        call_each(core, abs, column, 0, [], new_slot(), 0, NEVER)


def test_nothing_leaks(core: Any) -> None:
    def run(item: int) -> object:
        return object() if item else [][0]

    def exercise() -> None:
        with pytest.raises(IndexError):
            call_each(core, run, [1, 2, 0], 0, [], new_slot(), 2**40, NEVER)
        call_each(core, run, [1, 2], 0, [], new_slot(), 2**40, NEVER)

    assert grown(exercise) < 50
