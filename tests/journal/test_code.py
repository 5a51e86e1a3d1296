"""Digests: the same in every process, different where a result could be, and what has changed is named."""

from __future__ import annotations

import functools
import math
import operator
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import pocketflex as pf
from pocketflex.call import Call
from pocketflex.journal.code import parts_of
from pocketflex.journal.digests import NONE, digest_item

DIGESTS = """
import dataclasses, datetime, decimal, enum, functools, pathlib, re
import numpy as np
import pocketflex as pf
from pocketflex.journal.code import parts_of
from pocketflex.journal.digests import digest_item
from pocketflex.call import Call

class Colour(enum.Enum):
    RED = "red"

@dataclasses.dataclass
class Point:
    x: int
    tags: set

class Slots:
    __slots__ = ("a",)
    def __init__(self):
        self.a = {"x", "y", "z"}

TABLE = {"one", "two", "three"}

def helper(n):
    return n in {"a", "b", "c", "d"}

def function(n, tags=frozenset({"p", "q", "r"})):
    inner = lambda m: m in {"k", "l", "m"}
    return helper(n) and n in TABLE and n in tags and inner(n)

class Count(pf.BatchNode):
    words = {"u", "v", "w"}
    def __init__(self):
        super().__init__()
        self.limit = 3
    def exec_item(self, n):
        return function(n)

items = [
    {"a", "b", "c"}, frozenset("xyz"), Point(1, {"s", "t", "u"}), Colour.RED, pathlib.Path("a/b"), Slots(),
    datetime.datetime(2024, 1, 2), decimal.Decimal("1.5"), re.compile("a+"), functools.partial(helper, n="q"),
    np.array([{"a", "b"}, None], object), np.ma.masked_array([1, 2], [0, 1]), helper, Colour, len, str.upper,
    {Point: {"one", "two"}}, range(3), slice(1, 2), bytearray(b"a"), 2**100, float("nan"),
]
for item in items:
    print(digest_item(item).hex())
for call in (Call(function), Call(Count().exec_item), Call(functools.partial(function, tags={"a", "b"}))):
    print(sorted((name, part.hex()) for name, part in parts_of(call).items()))
"""


def test_digests_are_the_same_in_every_process(run_script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = set()
    for seed in ("1", "2", "3"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        done = run_script(DIGESTS)
        assert done.stderr == ""
        outputs.add(done.stdout)
    assert len(outputs) == 1
    lines = outputs.pop().splitlines()
    assert NONE.hex() not in lines
    assert len(set(lines)) == len(lines)


class Point:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ("a", b"a"),
        ([1], (1,)),
        ([1, 2, 3, 4], [1, 2, 3, 5]),
        ({1: 2}, {1: 3}),
        ({1: 1, 2: 2}, {2: 2, 1: 1}),
        (Point(a=1), Point(a=2)),
        (Point(a=1), Point(b=1)),
        (Path("a"), Path("b")),
        (np.array([1]), np.array([1.0])),
        (np.array([1, 2]), np.array([[1, 2]])),
        (np.float32(1), np.float64(1)),
        (math.sin, math.cos),
        (operator.itemgetter(1), operator.itemgetter(2)),
        (functools.partial(int, base=2), functools.partial(int, base=3)),
    ],
    ids=str,
)
def test_different_items_have_different_digests(left: Any, right: Any) -> None:
    assert digest_item(left) != digest_item(right)
    assert NONE not in (digest_item(left), digest_item(right))


def test_what_cannot_be_taken_apart_has_no_digest() -> None:
    class Refuses:
        def __reduce_ex__(self, protocol: Any) -> Any:
            raise SystemExit

    circle: list[Any] = []
    circle.append(circle)
    with open(__file__) as file:
        assert {digest_item(item) for item in (file, circle, Refuses(), iter([]).__next__)} >= {NONE}
        assert digest_item(file) == digest_item(circle) == digest_item(Refuses()) == NONE


BASE = """
import pocketflex as pf
from math import sqrt
LIMIT = 10
TABLE = {"a": [1, 2]}
unrelated = 1

def helper(n):
    return deeper(n) + 1

def deeper(n):
    return n * LIMIT

def make(factor):
    def inner(n, more=3):
        return helper(n) * factor + TABLE["a"][0] + sqrt(more)
    return inner

def outer(n):
    return [(lambda m: m + 1)(k) for k in range(n) if k not in (1, 2)]

class Base(pf.BatchNode):
    offset = 1
    def twice(self, n):
        return 2 * n

class Work(Base):
    max_retries = 2
    def __init__(self, scale=2):
        super().__init__()
        self.scale = scale
    def prep(self, shared):
        return [1, 2]
    def exec_item(self, n):
        return self.twice(n) + self.offset + self.scale + self.shift(n)
    @staticmethod
    def shift(n):
        return n + 1
    @property
    def wide(self):
        return 1
    def post(self, shared, items, results):
        return "done"
"""
WORK, MADE, OUTER = "Work().exec_item", "make(2)", "outer"
CHANGES = [
    (WORK, "return self.twice(n) +", "return self.twice(n) -", "Work.exec_item"),
    (WORK, "return 2 * n", "return 3 * n", "Base.twice"),
    (WORK, "offset = 1", "offset = 2", "Base.offset"),
    (WORK, "scale=2", "scale=3", "Work.scale"),
    (WORK, "n + 1\n    @property", "n + 2\n    @property", "Work.shift"),
    (WORK, "return 1\n", "return 2\n", "Work.wide"),
    (MADE, "LIMIT = 10", "LIMIT = 11", "LIMIT"),
    (MADE, "[1, 2]}", "[1, 3]}", "TABLE"),
    (MADE, "n * LIMIT", "n / LIMIT", "deeper"),
    (MADE, "deeper(n) + 1", "deeper(n) + 2", "helper"),
    (MADE, "more=3", "more=4", "default of inner"),
    (MADE, "import sqrt", "import cbrt as sqrt", "sqrt"),
    (MADE, "make(2)", "make(3)", "factor"),
    (OUTER, "m + 1", "m + 2", "outer"),
    (OUTER, "(1, 2)]", "(1, 3)]", "outer"),
]
UNSEEN = [
    (WORK, 'return "done"', 'return "other"'),
    (WORK, "return [1, 2]", "return [3]"),
    (WORK, "max_retries = 2", "max_retries = 3"),
    (WORK, "max_retries = 2", "timeout = 2"),
    (MADE, "unrelated = 1", "unrelated = 2"),
    (MADE, "def helper(n):", "# a comment\n\n\ndef helper(n):"),
]


def parts(source: str, call: str) -> dict[str, bytes]:
    names: dict[str, Any] = {"__name__": "work"}
    exec(compile(source, "work.py", "exec"), names)
    return parts_of(Call(eval(call, names)))


@pytest.mark.parametrize(("call", "before", "after", "name"), CHANGES, ids=lambda value: value[:24])
def test_a_change_is_seen_and_named(call: str, before: str, after: str, name: str) -> None:
    assert before in BASE + call
    old, new = parts(BASE, call), parts(BASE.replace(before, after), call.replace(before, after))
    changed = {part for part in old.keys() | new.keys() if old.get(part) != new.get(part)}
    assert name in {re.sub(r" \(\d\)$", "", part).rpartition("<locals>.")[2] for part in changed}
    assert len(changed) <= 2  # a default may be an attribute as well


@pytest.mark.parametrize(("call", "before", "after"), UNSEEN, ids=lambda value: value[:24])
def test_what_cannot_change_a_result_is_not_looked_at(call: str, before: str, after: str) -> None:
    assert before in BASE
    assert parts(BASE, call) == parts(BASE.replace(before, after), call)


@pytest.mark.parametrize(
    "function",
    [
        len,
        math.sqrt,
        str.upper,
        int,
        np.sqrt,
        operator.itemgetter(1),
        functools.partial(pow, exp=2),
        functools.lru_cache(lambda n: n),
        re.compile("a").match,
        Point(a=1).__init__,  # type: ignore[misc]
    ],
    ids=str,
)
def test_every_kind_of_callable_has_parts(function: Any) -> None:
    assert parts_of(Call(function)) == parts_of(Call(function))
    assert parts_of(Call(function))


def test_a_fallback_is_code_as_well() -> None:
    def fallback(item: Any, error: Any) -> Any:
        return 1

    assert parts_of(Call(len, fallback=fallback)) != parts_of(Call(len))


def times(factor: int) -> Any:
    return lambda n: n * factor


def test_changed_code_is_refused_by_name(path: Path) -> None:
    for _ in range(2):
        assert pf.parallel_map(times(2), [1, 2], executor="serial", resume=path) == [2, 4]
    message = (
        r"the code of parallel_map\(.*<lambda>\) has changed since \(factor\), or it is another call: give another path"
    )
    with pytest.raises(pf.JournalError, match=message):
        pf.parallel_map(times(3), [1, 2], executor="serial", resume=path)


cache: dict[int, int] = {}


class Caches(pf.BatchNode):
    kept: ClassVar[list[int]] = []

    def prep(self, shared: Any) -> Any:
        return [1, 2]

    def exec_item(self, n: int) -> int:
        self.kept.append(n)
        return cache.setdefault(n, len(cache))

    def post(self, shared: Any, items: Any, results: Any) -> Any:
        shared["runs"] = shared.get("runs", 0) + 1
        return "again" if shared["runs"] < 3 else "done"


def test_what_items_put_into_a_cache_is_no_change_of_the_code(path: Path) -> None:
    """The first run visits the node with a full cache; the second, from the journal, with an empty one."""
    for _ in range(2):
        cache.clear()
        Caches.kept.clear()
        flow: pf.Flow[Any] = pf.Flow(start=Caches())
        node: Any = flow.start_node
        flow.connect(node, node, "again").connect(node, pf.Node(), "done")
        assert pf.run(flow, resume=path) == {"runs": 3}
    assert cache == {}
    cache[5] = 5
    with pytest.raises(pf.JournalError, match=r"has changed since \(cache\)"):
        pf.run(Caches, resume=path)
    cache.clear()


def test_another_python_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("pocketflex.journal.book._PYTHON", "3.9")
        pf.parallel_map(abs, [1], executor="serial", resume=path)
    with pytest.raises(
        pf.JournalError, match=r"it was written under Python 3\.9, and this is 3\.\d+: give another path, or delete it"
    ):
        pf.parallel_map(abs, [1], executor="serial", resume=path)
