"""Which classes may have many of their values pickled as one, and which may not: code of somebody's would run."""

from __future__ import annotations

import copyreg
import datetime
import enum
import sys
from collections import namedtuple
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PosixPath
from types import ModuleType
from typing import Any, NamedTuple
from uuid import UUID

import cloudpickle
import pytest

from pocketflex._engine.by_value import ship_by_value
from pocketflex._engine.scalars import Kinds


class Pair(NamedTuple):
    one: Any
    two: Any = None

    def total(self) -> Any:
        """Methods of other names are not asked."""


class Hashed(NamedTuple):
    one: Any

    def __hash__(self) -> int:
        return 1


class Reduced(NamedTuple):
    one: Any

    def __reduce__(self) -> Any:
        return Reduced, (self.one,)


Old = namedtuple("Old", "one two")


class Derived(Old):
    """Might have attributes, and does."""


class MadeOtherwise(Old):
    """Its `__new__` is its own."""

    __slots__ = ()

    def __new__(cls) -> MadeOtherwise:
        return super().__new__(cls, 1, 2)


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"

    def shade(self) -> None:
        """Methods of other names are not asked."""


class Level(enum.IntEnum):
    LOW = 1


class Flags(enum.Flag):
    A = 1
    B = 2


class Words(enum.StrEnum):
    A = "a"


class Iterated(NamedTuple):
    one: Any

    def __iter__(self) -> Any:
        raise AssertionError


class OwnLook(enum.Enum):
    ONE = 1

    def __getattribute__(self, name: str) -> Any:
        return super().__getattribute__(name)


class Masked:
    __slots__ = ("x",)

    @property
    def __class__(self) -> Any:
        return int


class Fickle(enum.Enum):
    ONE = float("nan")


class OfTuples(enum.Enum):
    ONE = (1, 2)


class Missing(enum.Enum):
    ONE = 1

    @classmethod
    def _missing_(cls, value: object) -> Missing:
        return cls.ONE


class HashedEnum(enum.Enum):
    ONE = 1

    def __hash__(self) -> int:
        return 1


class ReducedEnum(enum.Enum):
    ONE = 1

    def __reduce_ex__(self, protocol: Any) -> Any:
        return ReducedEnum, (1,)


class Meta(enum.EnumMeta):
    pass


class Strange(enum.Enum, metaclass=Meta):
    ONE = 1


@dataclass(frozen=True)
class Point:
    x: int


@dataclass(slots=True)
class Slotted:
    x: int


@dataclass(slots=True, frozen=True)
class FrozenSlots:
    x: int


class Bare:
    __slots__ = ()


class Guarded:
    __slots__ = ("x",)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


class Covered:
    __slots__ = ("x",)


class Registered:
    pass


copyreg.pickle(Registered, lambda one: (Registered, ()))
Covered.x = property(lambda _: 1)  # type: ignore[assignment, method-assign]


class OwnPath(PosixPath):
    pass


class OwnDate(datetime.date):
    pass


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (Pair, "tuples"),
        (Old, "tuples"),
        (Color, "leaves"),
        (Level, "leaves"),
        (Flags, "leaves"),
        (Words, "leaves"),
        (type(Path()), "leaves"),
        (UUID, "leaves"),
        (Fraction, "leaves"),
        (Point, "objects"),
        (Slotted, "slotted"),
        (FrozenSlots, "slotted"),
    ],
)
def test_classes_without_code_of_their_own_are_vouched_for(kind: type, field: str) -> None:
    known = Kinds.known()
    vouched = known.vouch(kind)
    assert vouched is not None
    assert getattr(vouched, field)[-1] is kind
    assert vouched._replace(**{field: getattr(known, field)}) == known


@pytest.mark.parametrize(
    "kind",
    [
        Hashed, Reduced, Derived, MadeOtherwise, Fickle, OfTuples, Missing, HashedEnum, ReducedEnum, Strange,
        Iterated, OwnLook, Masked,
        Bare, Guarded, Covered, Registered, OwnPath, OwnDate, type, object, ValueError, bytearray, memoryview,
    ],
)  # fmt: skip
def test_for_others_nobody_vouches(kind: type) -> None:
    assert Kinds.known().vouch(kind) is None


@pytest.mark.parametrize("kind", [Pair, Color, Point, Slotted, UUID])
def test_nor_for_one_that_has_code_registered(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Kinds.known().vouch(kind) is not None
    monkeypatch.setitem(copyreg.dispatch_table, kind, lambda one: (kind, ()))
    assert Kinds.known().vouch(kind) is None
    monkeypatch.setitem(copyreg.dispatch_table, datetime.datetime, lambda one: (datetime.datetime, (1, 1, 1)))
    assert datetime.datetime not in Kinds.known().dated


def test_nor_for_one_that_the_other_side_cannot_import(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("nowhere_to_be_found")
    exec("class Lost: pass", vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert Kinds.known().vouch(module.Lost) is None
    ship_by_value(module)
    try:
        assert Kinds.known().vouch(module.Lost) is not None
    finally:
        cloudpickle.unregister_pickle_by_value(module)
