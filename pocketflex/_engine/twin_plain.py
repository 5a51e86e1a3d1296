"""Plain values, in Python; part of the `twin`."""

from __future__ import annotations

from itertools import chain
from sys import getrefcount
from typing import Any

_NOT_PLAIN, _FROZEN, _OPEN = range(3)
_DEEPEST = 50  # what is deeper may be endless
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
        is_object = any(type(item) is known for known in classes)
        weight = _weigh(getattr(item, "__dict__", None) if is_object else item, kinds, _DEEPEST)
        if not weight or id(item) in seen or (is_object and weight != _OPEN):
            return False
        if weight == _OPEN:
            seen.add(id(item))
    return True


def _weigh(value: Any, kinds: tuple[type, ...], depth: int) -> int:
    kind = type(value)
    if kind in _SCALARS or any(kind is known for known in kinds):
        return _FROZEN
    if not depth or kind not in (tuple, list, dict):
        return _NOT_PLAIN
    weight = _FROZEN if kind is tuple else _OPEN
    for part in chain(value.keys(), value.values()) if kind is dict else value:
        one = _weigh(part, kinds, depth - 1)
        if not one or (one == _OPEN and getrefcount(part) > _ALONE):
            return _NOT_PLAIN
        weight = max(weight, one)
    return weight


def _count_alone() -> int:
    """What `getrefcount` says there of a list that only its list has."""
    return next(getrefcount(part) for part in [[0]])


_ALONE = _count_alone()
