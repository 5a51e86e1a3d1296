"""Tuples, lists and dicts on their way: what is one object, and what is not."""

from __future__ import annotations

import sys
from typing import Any

import pytest

import pocketflex as pf
from pocketflex._engine.payload import ship_by_value

ship_by_value(sys.modules[__name__])  # workers cannot import this file

shared: list[int] = []


def record(number: int) -> dict[str, Any]:
    return {"number": number, "parts": (number, [number / 2, None]), "name": f"n{number}"}


@pytest.mark.parametrize("count", [1, 2, 5_000])
def test_records_arrive(count: int) -> None:
    records = [record(number) for number in range(count)]
    assert pf.parallel_map(record, range(count), max_workers=2) == records
    assert pf.parallel_map(lambda item: item, records, max_workers=2) == records


def test_within_an_item_one_object_stays_one() -> None:
    def twice(number: int) -> Any:
        part = [number]
        return part, part

    for one, two in pf.parallel_map(twice, range(100), max_workers=2):
        assert one is two


def test_between_items_there_are_none_that_can_be_changed() -> None:
    """Whether an item sees what another has done to its argument must not depend on who is its neighbour."""
    argument: dict[str, Any] = {"seen": []}

    def look(item: dict[str, Any]) -> int:
        item["seen"].append(1)
        return len(item["seen"])

    assert pf.parallel_map(look, [argument] * 50, max_workers=2) == [1] * 50
    inner = [argument["seen"]]
    assert pf.parallel_map(look, [{"seen": inner[0]} for _ in range(50)], max_workers=2) == [1] * 50
    assert argument == {"seen": []}


def test_results_are_objects_of_their_own() -> None:
    def give(_number: int) -> list[Any]:
        return [shared, shared]

    results = pf.parallel_map(give, range(50), max_workers=2)
    assert len({id(result[0]) for result in results}) == 50
    assert all(result[0] is result[1] for result in results)


def test_one_that_cannot_be_sent_costs_itself() -> None:
    def give(number: int) -> Any:
        return {"number": number, "odd": (lambda: 1) if number == 7 else sys.stdout if number == 9 else [number]}

    results = pf.parallel_map(give, range(20), max_workers=2, on_error="collect")
    assert [type(result) is dict for result in results] == [number != 9 for number in range(20)]
    assert isinstance(results[9], pf.Failure)
    assert results[9].kind == "unpicklable"
    assert results[8] == {"number": 8, "odd": [8]}
