"""What the caller measures of the items that it runs and carries, and what it makes of that."""

from __future__ import annotations

from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from pocketflex._engine.source import Taken
from pocketflex.call import Call
from pocketflex.executors.inside import _TRIES, Inside
from pocketflex.executors.runner import _GROWTH, SLICE, Cost, Runner, runs_item
from pocketflex.options import BatchOptions
from pocketflex.retry import Retry, current_attempt


def cost(each: float) -> Cost:
    known = Cost()
    for _ in range(20):
        known.add(100_000 * each, 100_000)
    return known


def inside(run: float, *, is_joined: bool = True) -> Inside:
    runner = Runner(Call(abs), BatchOptions())
    runner.cost = cost(run)
    part: Any = SimpleNamespace(is_joined=is_joined)
    return Inside(part, None, runner)  # type: ignore[arg-type]


def test_of_what_is_not_known_one_item_is_run() -> None:
    assert (Cost().within(1.0), Cost().each) == (1, 0.0)


def test_a_share_grows_by_a_limited_factor() -> None:
    known = Cost()
    known.add(1e-6, 3)
    assert known.within(1.0) == 3 * _GROWTH


@pytest.mark.parametrize(("each", "items"), [(1e-6, 3000), (1e-4, 30), (0.01, 1), (10.0, 1)])
def test_a_slice_takes_its_time(each: float, items: int) -> None:
    assert abs(cost(each).within(SLICE) - items) <= 1


def test_what_a_first_item_costs_besides_is_soon_forgotten() -> None:
    known = Cost()
    for items in (1, 32, 1024):
        known.add(2e-5 + items * 5e-8, items)
    assert known.within(SLICE) == _GROWTH * 1024


@pytest.mark.parametrize(("run", "there", "back", "is_dearer"), [(5e-8, 7e-9, 2e-8, True), (5e-8, 1e-8, 4e-8, False)])
def test_workers_have_more_if_that_is_cheaper_than_to_run_it_here(
    run: float, there: float, back: float, is_dearer: bool
) -> None:
    assert inside(run).is_dearer(cost(there), cost(back)) is is_dearer
    assert inside(run).is_dearer(cost(there), Cost()), "what reading costs is not known"
    assert inside(run, is_joined=False).is_dearer(cost(there), cost(back)), "nobody else runs them"


def test_what_seemed_too_dear_is_tried_again_now_and_then() -> None:
    one = inside(1e-8)
    said = [one.is_dearer(cost(1e-8), cost(1e-8)) for _ in range(3 * _TRIES)]
    assert said.count(True) == 3


@pytest.mark.parametrize("items", [[3, -1, "x", -2], (3, -1, "x", -2)], ids=["list", "tuple"])
@pytest.mark.parametrize("attempts", [1, 2])
def test_a_part_of_the_items_is_run_and_nothing_else(items: Any, attempts: int) -> None:
    results: list[Any] = ["before"]
    runner = Runner(Call(abs, Retry(attempts)), BatchOptions(chunksize=4))
    failures, seconds = runner.run(11, Taken(items, 1, 3), results)
    assert results[:2] == ["before", 1]
    assert [(one.index, one.attempts, type(one.error)) for one in failures] == [(12, attempts, TypeError)]
    assert results[2:] == failures
    assert seconds >= 0


def test_an_item_knows_that_it_runs_here_and_leaves_no_trace_of_it() -> None:
    results: list[Any] = []
    Runner(Call(lambda _: (runs_item(), current_attempt())), BatchOptions()).run(0, Taken([1], 0, 1), results)
    assert results == [(True, 0)]
    assert not runs_item()


def test_the_time_of_a_slice_is_over_after_an_item_that_took_longer() -> None:
    def spin(seconds: float) -> None:
        until = monotonic() + seconds
        while monotonic() < until:
            pass

    results: list[Any] = []
    Runner(Call(spin), BatchOptions()).run(0, Taken([2 * SLICE, 0, 0], 0, 3), results)
    assert len(results) == 1
