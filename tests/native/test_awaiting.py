"""The loop over async items: what ends it, where results go, and what is handed out of it."""

from __future__ import annotations

import gc
import weakref
from array import array
from collections.abc import Iterator
from time import monotonic_ns
from types import coroutine
from typing import Any

import pytest

NEVER = 2**63 - 1
UNTOUCHED, BETWEEN = -7, -1


@coroutine
def pause(value: Any) -> Any:
    """Suspend, with `value` for whoever drives this."""
    return (yield value)


async def double(item: int) -> int:
    return 2 * item


def await_each(
    core: Any, function: Any, items: Any, results: list[Any], until: int = NEVER
) -> tuple[tuple[Any, Any] | bool, int]:
    """How the loop ends, and the index that it leaves."""
    state = array("q", [UNTOUCHED])
    return core.await_each(function, iter(items), results, until, state), state[0]


def test_results_are_appended_to_those_that_are_there(core: Any) -> None:
    results: list[Any] = ["before"]
    assert await_each(core, double, [1, 2, 3], results) == (False, BETWEEN)
    assert results == ["before", 2, 4, 6]


def test_it_ends_when_the_time_is_over_and_goes_on_from_there(core: Any) -> None:
    items, results = iter(range(1000)), list[Any]()
    assert await_each(core, double, items, results, monotonic_ns()) == (True, 0)
    assert results == [0]  # one is run in any case
    assert await_each(core, double, items, results) == (False, BETWEEN)
    assert results == [2 * item for item in range(1000)]


def test_slow_items_do_not_keep_it_for_long_after_its_time(core: Any) -> None:
    async def slow(item: int) -> int:
        until = monotonic_ns() + 1_000_000
        while monotonic_ns() < until:
            pass
        return item

    results: list[Any] = []
    ended, _ = await_each(core, slow, range(100_000), results, monotonic_ns() + 20_000_000)
    assert ended is True
    assert len(results) < 1000


def test_one_that_suspends_is_handed_out_with_what_it_yielded(core: Any) -> None:
    async def work(item: int) -> int:
        return item + await pause("waiting") if item == 2 else item

    results: list[Any] = []
    ended, index = await_each(core, work, [0, 1, 2, 3], results)
    assert isinstance(ended, tuple)
    started, yielded = ended
    assert (yielded, index, results) == ("waiting", 2, [0, 1, None])
    with pytest.raises(StopIteration) as caught:
        started.send(40)
    assert caught.value.value == 42


def test_one_that_yields_nothing_has_suspended_all_the_same(core: Any) -> None:
    async def work(item: int) -> None:
        await pause(None)

    ended, _ = await_each(core, work, [0], [])
    assert isinstance(ended, tuple)
    assert ended[1] is None
    ended[0].close()


@pytest.mark.parametrize("error", [ValueError("it"), KeyboardInterrupt(), GeneratorExit(), SystemExit(3)])
def test_an_exception_of_an_item_leaves_its_index_and_its_place(core: Any, error: BaseException) -> None:
    async def work(item: int) -> int:
        if item == 1:
            raise error
        return item

    items, results, state = iter([0, 1, 2]), list[Any](), array("q", [UNTOUCHED])
    with pytest.raises(type(error)) as caught:
        core.await_each(work, items, results, NEVER, state)
    assert caught.value is error
    assert (state[0], results, list(items)) == (1, [0, None], [2])


def test_a_function_that_raises_before_there_is_a_coroutine(core: Any) -> None:
    state = array("q", [UNTOUCHED])
    with pytest.raises(TypeError, match="positional argument"):
        core.await_each(lambda: None, iter([0]), results := [], NEVER, state)
    assert (state[0], results) == (0, [None])


def test_a_stop_iteration_of_an_item_is_no_result(core: Any) -> None:
    async def work(item: int) -> None:
        raise StopIteration(item)

    state = array("q", [UNTOUCHED])
    with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
        core.await_each(work, iter([5]), results := [], NEVER, state)
    assert (state[0], results) == (0, [None])


def test_an_exception_of_the_items_is_between_them(core: Any) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("items")

    state = array("q", [UNTOUCHED])
    with pytest.raises(KeyError, match="items"):
        core.await_each(double, items(), results := [], NEVER, state)
    assert (state[0], results) == (BETWEEN, [2])


def test_what_is_no_coroutine_is_an_error_of_its_item(core: Any) -> None:
    state = array("q", [UNTOUCHED])
    with pytest.raises(AttributeError, match="send"):
        core.await_each(lambda item: item, iter([7]), [], NEVER, state)
    assert state[0] == 0


def test_results_that_the_function_clears_cost_an_exception_and_no_more(core: Any) -> None:
    results: list[Any] = []

    async def work(item: int) -> int:
        results.clear()
        return item

    with pytest.raises(IndexError):
        await_each(core, work, [0, 1], results)


def test_items_and_results_are_let_go_of(core: Any) -> None:
    class Thing:
        pass

    async def work(item: Thing) -> Thing:
        return Thing()

    things = [Thing() for _ in range(10)]
    refs = [weakref.ref(thing) for thing in things]
    results: list[Any] = []
    await_each(core, work, things, results)
    refs += [weakref.ref(result) for result in results]
    del things
    results.clear()
    gc.collect()
    assert [ref() for ref in refs] == [None] * 20


def test_wrong_arguments_are_refused(core: Any) -> None:
    state = array("q", [0])
    with pytest.raises(TypeError, match="list"):
        core.await_each(double, iter([1]), (), NEVER, state)
    with pytest.raises(TypeError, match="iterator"):
        core.await_each(double, [1], [], NEVER, state)
    with pytest.raises((TypeError, BufferError)):
        core.await_each(double, iter([1]), [], NEVER, bytes(8))
    with pytest.raises(ValueError, match=r"word|multiple"):
        core.await_each(double, iter([1]), [], NEVER, array("q"))
    with pytest.raises(ValueError, match="1180591620717411303424"):
        core.await_each(double, iter([1]), [], 2**70, state)
