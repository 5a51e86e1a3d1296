"""Plain values, in Python; part of the `twin`."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from functools import partial
from sys import getrefcount, intern
from typing import Any

_NOT_PLAIN, _FROZEN, _OPEN = range(3)
_DEEPEST = 50  # what is deeper may be endless
_MOST = 1 << 16  # parts of an item: a tuple that is in two places is walked twice, and so are those in it
_TOP, _KINDS = 6, 7  # of the types besides Python's own, as `Kinds` of scalars.py has them
_SCALARS = frozenset({int, str, float, bytes, bool, type(None)})


def are_plain(items: list[Any], kinds: tuple[tuple[type, ...], ...], /) -> bool | type:
    """Whether all are plain, and share nothing that can be changed; a type if that is not known."""
    if type(items) is not list:
        raise TypeError("items must be a list, and no subclass")
    if not isinstance(kinds, tuple) or len(kinds) != _KINDS or any(type(some) is not tuple for some in kinds):
        raise TypeError(f"kinds must be {_KINDS} tuples, and no subclasses")
    seen: set[int] = set()
    for item in items:
        walk = _Walk(kinds)
        weight = walk.weigh_object(item, _DEEPEST) if _is_of(item, kinds[_TOP]) else walk.weigh(item, _DEEPEST)
        if walk.unknown:
            return walk.unknown
        if not weight or id(item) in seen:
            return False
        if weight == _OPEN:
            seen.add(id(item))
    return True


def call_uncollected(function: Callable[[Any], Any], argument: Any, /) -> Any:
    """What a function in C returns, during which no garbage is collected."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return function(argument)
    finally:
        if was_on:
            gc.enable()


def build(kind: type, attributes: list[Any], /) -> None:
    """Put an object of a class in the place of each dict of its attributes."""
    if type(attributes) is not list:
        raise TypeError("attributes must be a list, and no subclass")
    if not isinstance(kind, type) or getattr(kind, "__new__", None) is not object.__new__:
        raise TypeError("kind must be a class that has its __new__ from object")
    call_uncollected(partial(_build_all, kind), attributes)


def _build_all(kind: type, attributes: list[Any]) -> None:
    for index, given in enumerate(attributes):
        if type(given) is not dict:
            raise TypeError("attributes must be a dict, and no subclass")
        made: Any = object.__new__(kind)
        own = made.__dict__
        for name, value in given.items():
            own[intern(name) if type(name) is str else name] = value
        attributes[index] = made


def _is_of(value: Any, kinds: tuple[type, ...]) -> bool:
    return any(type(value) is known for known in kinds)


class _Walk:
    def __init__(self, kinds: tuple[tuple[type, ...], ...]) -> None:
        self._leaves, self._dated, self._zones, self._tuples, self._objects, self._slotted, _ = kinds
        self._left = _MOST
        self.unknown: type | None = None

    def weigh(self, value: Any, depth: int) -> int:
        kind = type(value)
        if kind in _SCALARS:
            return _FROZEN
        if not depth:
            return _NOT_PLAIN
        if kind is dict:
            return self._weigh_dict(value, depth)
        if kind in (tuple, list) or _is_of(value, self._tuples):
            return self._weigh_parts(value, _OPEN if kind is list else _FROZEN, depth)
        if kind in (set, frozenset):
            are_frozen = all(self._is_frozen(part, depth) for part in value)
            return _NOT_PLAIN if not are_frozen else _OPEN if kind is set else _FROZEN
        if _is_of(value, self._leaves):
            return _FROZEN
        if _is_of(value, self._dated):
            return _FROZEN if value.tzinfo is None or _is_of(value.tzinfo, self._zones) else _NOT_PLAIN
        if _is_of(value, self._objects):
            return self.weigh_object(value, depth)
        if _is_of(value, self._slotted):
            return self._weigh_slotted(value, depth)
        self.unknown = kind
        return _NOT_PLAIN

    def weigh_object(self, value: Any, depth: int) -> int:
        attributes = getattr(value, "__dict__", None)
        if type(attributes) is not dict or getrefcount(attributes) > _ITS_OWN:
            return _NOT_PLAIN
        has_hook = any(isinstance(name, str) and name.startswith("__") for name in attributes)
        return _NOT_PLAIN if has_hook else self._weigh_dict(attributes, depth)

    def _weigh_slotted(self, value: Any, depth: int) -> int:
        names = getattr(type(value), "__slotnames__", None)
        if type(names) is not list:
            return _NOT_PLAIN
        parts = (getattr(value, name) for name in names if hasattr(value, name))
        return self._weigh_parts(parts, _OPEN, depth)

    def _weigh_dict(self, value: dict[Any, Any], depth: int) -> int:
        are_frozen = all(self._is_frozen(key, depth) for key in value)
        return self._weigh_parts(value.values(), _OPEN, depth) if are_frozen else _NOT_PLAIN

    def _is_frozen(self, part: Any, depth: int) -> bool:
        self._left -= 1
        return self._left >= 0 and self.weigh(part, depth - 1) == _FROZEN

    def _weigh_parts(self, parts: Iterable[Any], weight: int, depth: int) -> int:
        for part in parts:
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
