"""Tuples, lists and dicts on their way: what is one object, and what is not."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

import pocketflex as pf
from pocketflex._engine.by_value import ship_by_value

ship_by_value(sys.modules[__name__])  # workers cannot import this file

shared: list[int] = []


@dataclass
class Point:
    x: int
    parts: Any = None


class Careful:
    """Its pickling fails for one of them, and its loading for another."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __getstate__(self) -> dict[str, Any]:
        if self.number == 7:
            raise ValueError("seven stays here")
        return self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["number"] == 9:
            raise ValueError("nine does not arrive")
        self.__dict__.update(state)


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


@pytest.mark.parametrize("count", [1, 2, 5_000])
def test_objects_arrive(count: int) -> None:
    points = [Point(number, [number]) for number in range(count)]
    assert pf.parallel_map(lambda number: Point(number, [number]), range(count), max_workers=2) == points
    found = pf.parallel_map(lambda point: point, points, max_workers=2)
    assert found == points
    assert {type(point) for point in found} == {Point}


def test_what_objects_share_is_theirs_alone() -> None:
    part = [0]

    def grow(point: Point) -> int:
        point.parts.append(1)
        return len(point.parts)

    assert pf.parallel_map(grow, [Point(number, part) for number in range(50)], max_workers=2) == [2] * 50
    point = Point(0, [0])
    assert pf.parallel_map(grow, [point] * 50, max_workers=2) == [2] * 50


class Monostate:
    state: ClassVar[dict[str, Any]] = {"parts": [0]}

    def __init__(self) -> None:
        self.__dict__ = self.state


def test_objects_that_share_their_attributes_are_apart_in_a_worker() -> None:
    def grow(item: Any) -> int:
        item.parts.append(1)
        return len(item.parts)

    assert pf.parallel_map(grow, [Monostate() for _ in range(20)], max_workers=2) == [2] * 20


def test_what_is_one_tuple_in_a_million_places_is_no_work() -> None:
    def tree(depth: int) -> Any:
        found: Any = (1,)
        for _ in range(depth):
            found = (found, found)
        return found

    left = pf.parallel_map(tree, [45] * 3, max_workers=2)[0]
    while len(left) > 1:
        assert left[0] is left[1]
        left = left[0]


@pytest.mark.parametrize("is_item", [True, False], ids=["item", "result"])
def test_an_object_whose_own_code_fails_costs_itself(is_item: bool) -> None:
    items: Any = [Careful(number) for number in range(20)] if is_item else range(20)
    work: Any = (lambda item: item.number) if is_item else Careful
    results = pf.parallel_map(work, items, max_workers=2, on_error="collect")
    assert [number for number, found in enumerate(results) if isinstance(found, pf.Failure)] == [7, 9]


def test_objects_of_a_class_that_cannot_be_loaded_each_fail() -> None:
    def make(number: int) -> Any:
        import types

        module = sys.modules.setdefault("made_in_a_worker", types.ModuleType("made_in_a_worker"))
        kind = module.__dict__.setdefault("Kind", type("Kind", (), {"__module__": "made_in_a_worker"}))
        kind.__init__ = lambda self, number: self.__dict__.update(number=number)
        sys.modules["made_in_a_worker"].__spec__ = object()  # as of one that was imported
        return kind(number)

    results = pf.parallel_map(make, range(10), max_workers=2, on_error="collect")
    kinds = {type(result).__name__ for result in results}
    assert kinds in ({"Failure"}, {"Kind"})  # all travel alike


@dataclass(slots=True)
class Slotted:
    x: int


class Named:
    __slots__ = ("__dict__", "name")

    def __init__(self, name: str) -> None:
        self.name = name


def test_a_class_with_slots_has_them_in_a_worker_too() -> None:
    def work(item: Slotted) -> Any:
        with pytest.raises(AttributeError):
            item.other = 1  # type: ignore[attr-defined]
        return Slotted(item.x + 1), Named("a"), Slotted(item.x)

    found = pf.parallel_map(work, [Slotted(number) for number in range(20)], max_workers=2)
    assert [(one, named.name, vars(named), other) for one, named, other in found] == [
        (Slotted(number + 1), "a", {}, Slotted(number)) for number in range(20)
    ]
    assert pf.parallel_map(Slotted, range(3), max_workers=2) == [Slotted(0), Slotted(1), Slotted(2)]


KINDS = """
import datetime, enum
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
import pocketflex as pf

class Color(enum.Enum):
    RED = "red"

class Entry(NamedTuple):
    day: datetime.date
    tags: frozenset
    place: Path

Old = namedtuple("Old", "one two")

@dataclass
class Point:
    x: int
    color: Color

@dataclass(slots=True)
class Slotted:
    x: int
    point: Point

@dataclass(slots=True, frozen=True)
class Frozen:
    x: int

def make(n):
    day = datetime.date(2020, 1, 1) + datetime.timedelta(n)
    when = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    return [
        Entry(day, frozenset({n, "x"}), Path("a") / str(n)), Old(n, {n}), Point(n, Color.RED),
        Slotted(n, Point(1, Color.RED)), Frozen(n), Color.RED, when, {"nested": [Point(n, Color.RED), {Frozen(n)}]},
    ]

made = [make(n) for n in range(500)]
assert pf.parallel_map(make, range(500), max_workers=2) == made
assert pf.parallel_map(lambda one: one, made, max_workers=2) == made
for column in zip(*made):
    column = list(column)
    found = pf.parallel_map(lambda one: one, column, max_workers=2)
    assert found == column and {*map(type, found)} == {*map(type, column)}, column[0]
    assert pf.parallel_map(lambda one: one, column[:1], max_workers=2) == column[:1]
print("same")
"""


def test_values_of_classes_of_a_script_arrive(run_script: Any) -> None:
    done = run_script(KINDS, timeout=60)
    assert (done.stdout, done.stderr) == ("same\n", "")


GONE = """
from pathlib import Path
with open(Path(__file__).with_name("tried"), "a") as tried:
    tried.write("x")
raise ImportError
"""


@pytest.mark.parametrize("options", [{}, {"retry": pf.Retry(2)}, {"chunksize": 100}], ids=str)
def test_items_that_cannot_be_loaded_cost_no_others(
    options: dict[str, Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their class is there when they are sent, and not when they arrive; a thousand others come with them."""
    name = f"soon_gone_{len(options)}{len(str(options))}"
    module = tmp_path / f"{name}.py"
    module.write_text("class Thing:\n    def __init__(self, n):\n        self.n = n\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    thing = importlib.import_module(name).Thing
    items = [thing(number) if number % 100 == 7 else (number, {"n": number}) for number in range(1_000)]
    pf.parallel_map(len, [[1], [2]], max_workers=2)
    module.write_text(GONE)
    found = pf.parallel_map(lambda item: item[0], items, max_workers=2, on_error="collect", **options)
    assert [one for one in found if isinstance(one, int)] == [n for n in range(1_000) if n % 100 != 7]
    assert [one.index for one in found if isinstance(one, pf.Failure)] == list(range(7, 1_000, 100))
    assert {one.kind for one in found if isinstance(one, pf.Failure)} == {"unpicklable"}
    assert pf.parallel_map(abs, [-1, -2], max_workers=2) == [1, 2]
