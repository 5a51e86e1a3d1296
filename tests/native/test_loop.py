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


def test_items_are_run_and_their_results_kept(core: Any) -> None:
    slot, results = new_slot(), ["before"]
    assert core.call_each(str, [1, 2, 3], 1, results, slot, 100, NEVER) == 3
    assert results == ["before", "2", "3"]
    assert slot == array("q", [7, 102, 0, 0, -1, 0, 0, 0])


def test_the_index_is_written_before_the_item_runs(core: Any) -> None:
    slot, seen = new_slot(), []
    core.call_each(lambda item: seen.append((item, slot[INDEX])), list("abc"), 0, [], slot, 10, NEVER)
    assert seen == [("a", 10), ("b", 11), ("c", 12)]


@pytest.mark.parametrize("at", [3, 4, 2**62])
def test_behind_the_last_item_nothing_is_run(core: Any, at: int) -> None:
    slot, results = new_slot(), []
    assert core.call_each(str, [1, 2, 3], at, results, slot, 0, NEVER) == at
    assert (results, slot[INDEX]) == ([], -1)


def test_it_ends_before_the_next_item_once_the_job_is_cancelled(core: Any) -> None:
    slot, results = new_slot(), []

    def run(item: int) -> int:
        slot[CANCELLED] = 7 if item == 2 else 6
        return item

    assert core.call_each(run, [0, 1, 2, 3], 0, results, slot, 0, NEVER) == 3
    assert results == [0, 1, 2]
    assert core.call_each(run, [0, 1, 2, 3], 3, results, slot, 0, NEVER) == 3


@pytest.mark.parametrize("until", [0, -1, -(2**63), 1])
def test_when_the_time_is_over_one_item_is_run_all_the_same(core: Any, until: int) -> None:
    results: list[int] = []
    assert core.call_each(abs, [1, 2, 3], 0, results, new_slot(), 0, until) == 1
    assert core.call_each(abs, [1, 2, 3], 1, results, new_slot(), 0, until) == 2


def test_it_ends_soon_after_the_time_is_over(core: Any) -> None:
    """Slow items are looked at one by one, however fast those before were."""
    until = monotonic_ns() + 5_000_000
    begun = []

    def run(item: int) -> None:
        begun.append(monotonic_ns())
        while item > 1000 and monotonic_ns() < begun[-1] + 20_000:
            pass

    ended = core.call_each(run, [*range(100_000)], 0, [], new_slot(), 0, until)
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
        core.call_each(run, [0, 1, 2, 3], 0, results, slot, 50, NEVER)
    assert caught.value is error
    assert results == [None, 0, 1]
    assert slot[INDEX] == 52


def test_a_list_that_shrinks_or_grows_is_followed(core: Any) -> None:
    items = list(range(10))
    assert core.call_each(
        lambda item: items.clear() if item == 3 else item, items, 0, results := [], new_slot(), 0, NEVER
    )
    assert results == [0, 1, 2, None]
    grows = [0]
    assert core.call_each(lambda item: item < 20 and grows.append(item + 1), grows, 0, [], new_slot(), 0, NEVER) == 21


def test_an_item_that_its_list_lets_go_of_lives_while_it_runs(core: Any) -> None:
    items: list[Any] = [{number} for number in range(100)]

    def run(item: set[int]) -> int:
        items[:] = []
        gc.collect()
        return item.pop()

    assert core.call_each(run, items, 5, results := [], new_slot(), 0, NEVER) == 6
    assert results == [5]


def test_results_may_be_cleared_meanwhile(core: Any) -> None:
    results: list[Any] = []
    assert core.call_each(lambda item: results.clear(), [1, 2, 3], 0, results, new_slot(), 0, NEVER) == 3
    assert results == [None]


def test_items_and_results_may_be_one_list(core: Any) -> None:
    items: list[int] = [1, 2]
    slot = new_slot()

    def run(item: int) -> int:
        if len(items) == 50:
            slot[CANCELLED] = slot[JOB]
        return item

    assert core.call_each(run, items, 0, items, slot, 0, NEVER) == 49
    assert items == [1, 2] * 25 + [1]


def test_a_function_may_call_it_again(core: Any) -> None:
    def run(depth: int) -> list[Any]:
        results: list[Any] = []
        core.call_each(run, [depth - 1] if depth else [], 0, results, new_slot(), 0, NEVER)
        return results

    assert run(3) == [[[[]]]]
    with pytest.raises(RecursionError):
        run(10**6)


class Thing:
    pass


def test_nothing_holds_on_to_items_and_results(core: Any) -> None:
    items, results = [Thing()], []
    core.call_each(lambda item: Thing(), items, 0, results, new_slot(), 0, NEVER)
    references = [weakref.ref(items.pop()), weakref.ref(results.pop())]
    assert [reference() for reference in references] == [None, None]


@pytest.mark.parametrize(("index", "at"), [(2**63 - 1, 0), (2**63 - 2, 1), (-(2**63), 0), (-1, 1)])
def test_an_index_wraps_around(core: Any, index: int, at: int) -> None:
    slot = new_slot()
    core.call_each(abs, [1, 2, 3], at, [], slot, index, NEVER)
    assert slot[INDEX] == (index + 2 + 2**63) % 2**64 - 2**63


def test_arguments_that_make_no_sense_are_refused(core: Any) -> None:
    class Items(list[Any]):
        pass

    slot = new_slot()
    for items, results in (((1,), []), ([1], ()), (Items([1]), []), ([1], Items())):
        with pytest.raises(TypeError):
            core.call_each(abs, items, 0, results, slot, 0, NEVER)
    for at, size, until in ((-1, 8, 0), (2**63, 8, 0), (0, 7, 0), (0, 8, 2**63)):
        with pytest.raises(ValueError):  # noqa: PT011
            core.call_each(abs, [1], at, [], slot[:size], 0, until)
    with pytest.raises(TypeError, match="not callable"):
        core.call_each(None, [1], 0, [], slot, 0, NEVER)
    with pytest.raises(BufferError):
        core.call_each(abs, [1], 0, [], bytes(64), 0, NEVER)


def test_the_slot_is_held_while_items_run_and_let_go_of_after(core: Any) -> None:
    slot = mmap(-1, 4096)
    slot[32:40] = b"\xff" * 8
    with pytest.raises(BufferError) as caught:
        core.call_each(lambda item: slot.close(), [1], 0, [], slot, 0, NEVER)
    slot.close()
    assert caught.value.__traceback__ is not None  # whose frames are alive


def test_a_signal_ends_a_loop_of_functions_in_c(core: Any) -> None:
    items: list[Any] = [None]
    former = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(Rung):
            core.call_each(items.append, items, 0, [], new_slot(), 0, NEVER)  # which never comes to an end
    finally:
        signal.signal(signal.SIGALRM, former)


def test_nothing_leaks(core: Any) -> None:
    def run(item: int) -> object:
        return object() if item else [][0]

    def exercise() -> None:
        with pytest.raises(IndexError):
            core.call_each(run, [1, 2, 0], 0, [], new_slot(), 2**40, NEVER)
        core.call_each(run, [1, 2], 0, [], new_slot(), 2**40, NEVER)

    assert grown(exercise) < 50
