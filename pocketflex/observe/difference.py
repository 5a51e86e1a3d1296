"""Where two results differ: what the `compare` command prints.

Equal means `==`. Where that gives no plain answer, as for arrays, or says no to what a reader would
call the same, as for NaN and exceptions, the parts are compared instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


def first_difference(left: Any, right: Any, where: str) -> str | None:
    """The first place at which `left` and `right` differ, in words; None if they are equal.

    Args:
        left: A value of one run.
        right: The value of the other run in the same place.
        where: That place, as a reader would write it: ``shared['sizes'][3]``.
    """
    if _is_equal(left, right):
        return None
    if type(left) is not type(right):
        return f"{where}: {_brief(left)} ({type(left).__name__}) and {_brief(right)} ({type(right).__name__})"
    if isinstance(left, Mapping):
        return _in_mappings(left, right, where)
    if isinstance(left, list | tuple):
        return _in_sequences(left, right, where)
    if isinstance(left, BaseException):
        return _in_sequences(left.args, right.args, f"{where}.args")
    if (parts := _parts(left)) is not None:
        others = _parts(right) or {}
        found = (first_difference(parts[name], others.get(name), f"{where}.{name}") for name in parts)
        return next((text for text in found if text), None)
    return _in_leaves(left, right, where)


def _is_equal(left: Any, right: Any) -> bool:
    try:
        return (left == right) is True
    except Exception:  # an object's own `==` may raise anything: an array's says it is ambiguous
        return False


def _parts(value: Any) -> Mapping[str, Any] | None:
    """The attributes of a dataclass, or of an object that does not define `==`."""
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    defines_equality = type(value).__eq__ is not object.__eq__  # type: ignore[comparison-overlap]
    return None if defines_equality else getattr(value, "__dict__", None)


def _in_mappings(left: Mapping[Any, Any], right: Mapping[Any, Any], where: str) -> str | None:
    for key in left:
        if key not in right:
            return f"{where}[{key!r}] is missing in the second"
    for key in right:
        if key not in left:
            return f"{where}[{key!r}] is missing in the first"
    found = (first_difference(left[key], right[key], f"{where}[{key!r}]") for key in left)
    return next((text for text in found if text), None)


def _in_sequences(left: Any, right: Any, where: str) -> str | None:
    pairs = enumerate(zip(left, right, strict=False))
    found = (first_difference(one, other, f"{where}[{index}]") for index, (one, other) in pairs)
    difference = next((text for text in found if text), None)
    if difference is None and len(left) != len(right):
        return f"{where}: {len(left):,} and {len(right):,} entries"
    return difference


def _in_leaves(left: Any, right: Any, where: str) -> str | None:
    from numpy.testing import assert_equal  # late: most comparisons never come here

    try:
        assert_equal(left, right)
    except AssertionError:
        return f"{where}: {_brief(left)} and {_brief(right)}"
    return None


def _brief(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:59] + "…"
