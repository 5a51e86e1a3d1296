"""Plain values, in Python; part of the `twin`."""

from __future__ import annotations

from itertools import chain
from sys import getrefcount
from typing import Any

_NOT_PLAIN, _FROZEN, _OPEN = range(3)
_DEEPEST = 50  # what is deeper may be endless
_MOST = 1 << 16  # parts of an item: a tuple that is in two places is walked twice, and so are those in it
_SCALARS = frozenset({int, str, float, bytes, bool, type(None)})


def are_plain(items: list[Any], kinds: tuple[type, ...], classes: tuple[type, ...], /) -> bool:
    """Whether all are plain, and share nothing that can be changed."""
    if type(items) is not list:
        raise TypeError("items must be a list, and no subclass")
    for name, types in ("kinds", kinds), ("classes", classes):
        if type(types) is not tuple:
            raise TypeError(f"{name} must be a tuple, and no subclass")
    seen: set[int] = set()
    for item in items:
        weight = _weigh_item(item, kinds, classes)
        if not weight or id(item) in seen:
            return False
        if weight == _OPEN:
            seen.add(id(item))
    return True


def _weigh_item(item: Any, kinds: tuple[type, ...], classes: tuple[type, ...]) -> int:
    walk = _Walk(kinds)
    if not any(type(item) is known for known in classes):
        return walk.weigh(item, _DEEPEST)
    attributes = getattr(item, "__dict__", None)
    if type(attributes) is not dict or getrefcount(attributes) > _ITS_OWN:
        return _NOT_PLAIN
    return walk.weigh(attributes, _DEEPEST)


class _Walk:
    def __init__(self, kinds: tuple[type, ...]) -> None:
        self._kinds = kinds
        self._left = _MOST

    def weigh(self, value: Any, depth: int) -> int:
        kind = type(value)
        if kind in _SCALARS or any(kind is known for known in self._kinds):
            return _FROZEN
        if not depth or kind not in (tuple, list, dict):
            return _NOT_PLAIN
        weight = _FROZEN if kind is tuple else _OPEN
        for part in chain(value.keys(), value.values()) if kind is dict else value:
            self._left -= 1
            one = self.weigh(part, depth - 1) if self._left >= 0 else _NOT_PLAIN
            if not one or (one == _OPEN and getrefcount(part) > _ALONE):
                return _NOT_PLAIN
            weight = max(weight, one)
        return weight


class _Example:
    def __init__(self) -> None:
        self.attribute = 0


def _count_alone() -> int:
    """What `getrefcount` says there of a list that only its list has."""
    return next(getrefcount(part) for part in [[0]])


def _count_own() -> int:
    """What it says there of the attributes that only their object has."""
    example = _Example()
    attributes = getattr(example, "__dict__", None)
    return getrefcount(attributes)


_ALONE, _ITS_OWN = _count_alone(), _count_own()
