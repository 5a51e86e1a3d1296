"""Grains of a block that are no columns, made ready to be copied. blocks.py has the formats."""

from __future__ import annotations

import marshal
import pickle
from array import array
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from . import native, payload
from .failures import FailureRecord
from .scalars import Kinds, has_plain_state, number_type, pack_numbers
from .segments import round_up

_SCALARS = frozenset({str, int, float, bytes, bool, complex, type(None)})
_PLAIN = _SCALARS | {tuple, list, dict}
_FEW = 16  # values
_MOST_KINDS = 16  # classes that are vouched for, after each of which all is looked at again
_MARSHAL_VERSION = 2  # later ones look for shared references, at a third of the speed
FAILURE = 1  # the tag of a failure in a table
_ENTRY = 3  # words of an entry in it


class Form(IntEnum):
    """How a grain is written, besides the columns of the native core."""

    MARSHAL = 16
    NUMBERS = 17
    PLAIN = 18
    ROWS = 19
    ARRAYS = 20
    PICKLED = 21
    OBJECTS = 22
    MIXED = 23
    RAGGED = 24
    SHARED = 25
    FETCHED_ROWS = 26
    FETCHED_ARRAYS = 27
    FETCHED_BYTES = 28


class Grain(NamedTuple):
    """A grain that is ready to be copied: its form, its pieces with their offsets, its length and entries."""

    form: int
    parts: Sequence[tuple[int, Any]]
    nbytes: int
    length: int


def stack(arrays: list[Any]) -> Grain:
    """A grain of arrays that are alike."""
    return Grain(Form.ARRAYS, ((0, arrays),), len(arrays) * arrays[0].nbytes, len(arrays))


def stack_ragged(arrays: list[Any]) -> Grain:
    """A grain of arrays that differ only in their lengths."""
    shapes = array("q", (length for one in arrays for length in one.shape))
    first = round_up(8 * len(shapes))
    parts = (0, shapes), (first, arrays)
    return Grain(Form.RAGGED, parts, first + sum(one.nbytes for one in arrays), len(arrays))


class Watch(Protocol):
    """Who looks on while results are pickled."""

    def begin(self, position: int) -> None:
        """The result at `position` is about to be pickled."""

    def refuse(self, position: int, error: BaseException) -> FailureRecord:
        """It cannot be pickled: the failure to write in its place."""

    def let_go(self, results: list[Any]) -> None:
        """The results have been pickled: put something else into their places."""


class Table:
    """Makes one grain of a list of anything."""

    def __init__(self, pickler: payload.ObjectPickler, values: list[Any], kinds: Kinds | None) -> None:
        """Use `pickler`; what is of these kinds may be pickled as one, with None each value by itself."""
        self._pickler = pickler
        self._values = values
        self._kinds = kinds

    def fill(self, limit: int) -> tuple[Grain, BaseException | None]:
        """Write all values, or those before one that cannot be pickled, or as many as fit."""
        self._cut(limit)
        made = self._at_once()
        while made and made.nbytes > 2 * limit and made.length > 1:
            self._values = self._values[: made.length // 2]
            made = self._at_once()
        if made:
            return made, None
        for value in self._values:
            try:
                nbytes = self._pickler.append(value)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # also SystemExit from a user's __reduce__: it costs one item
                return self._grain(), error
            if nbytes > limit:
                break
        return self._grain(), None

    def _cut(self, limit: int) -> None:
        """Leave away what does not fit in any case, if all are as large as the first: or much is written in vain."""
        values = self._values
        if len(values) > _FEW and (first := Table(self._pickler, values[:1], self._kinds)._at_once()):
            self._values = values[: max(_FEW, 4 * limit // max(first.nbytes, 1))]

    def fill_watched(self, failed: Mapping[int, FailureRecord], watch: Watch) -> Grain:
        """Write all values, failures where they belong, and for what cannot be pickled a failure too."""
        if not failed:
            watch.begin(0)  # what is written at once is nobody's alone, and not the last item's, whose time it would be
            if made := self._at_once():
                return made
        append = self._pickler.append
        for position, value in enumerate(self._values):
            if position in failed:
                append(failed[position], FAILURE)
                continue
            watch.begin(position)
            try:
                append(value)
            except BaseException as error:
                append(watch.refuse(position, error), FAILURE)
        return self._grain()

    def _at_once(self) -> Grain | None:
        """All of them written at once, where that can fail for none of them alone."""
        if character := number_type(self._values):
            data = pack_numbers(self._values, character)
            parts = (0, character.encode().ljust(8)), (8, data)
            return Grain(Form.NUMBERS, parts, 8 + data.nbytes, len(self._values))
        if not _SCALARS.issuperset(map(type, self._values)):
            return None if self._kinds is None else self._plain(self._kinds)
        try:
            data = marshal.dumps(self._values, _MARSHAL_VERSION)
        except ValueError:  # marshal's lengths end at 2 GiB
            return None
        return Grain(Form.MARSHAL, ((0, data),), len(data), len(self._values))

    def _plain(self, kinds: Kinds) -> Grain | None:
        """One pickle, where no part of them that can be changed is in two of them: it would be the same one in both."""
        try:
            known = kinds = kinds._replace(top=self._classes())
            for _ in range(_MOST_KINDS):
                found = native.are_plain(self._values, kinds)
                if type(found) is bool:
                    return self._pickle_all(kinds.top, is_simple=kinds == known) if found else None
                if (vouched := kinds.vouch(found)) is None:
                    return None
                kinds = vouched
            return None
        except Exception:  # what one of them is to blame for, the pickle of that one shows
            return None

    def _pickle_all(self, top: tuple[type, ...], *, is_simple: bool) -> Grain:
        """One pickle of values that are plain; `is_simple`: of no types but those that are always known, and `top`."""
        if not is_simple:
            data = self._pickler.dump(self._values)[0]
            return Grain(Form.MIXED, ((0, data),), len(data), len(self._values))
        if not top:
            data = pickle.dumps(self._values, protocol=5)
            return Grain(Form.PLAIN, ((0, data),), len(data), len(self._values))
        kind, data = self._pickler.dump(top[0])[0], pickle.dumps([*map(vars, self._values)], protocol=5)
        parts = (0, array("q", (len(kind),))), (8, kind), (8 + len(kind), data)
        return Grain(Form.OBJECTS, parts, 8 + len(kind) + len(data), len(self._values))

    def _classes(self) -> tuple[type, ...]:
        """The class of all of them, if they are objects that are their attributes."""
        first = type(self._values[0])
        is_one = first not in _PLAIN and set(map(type, self._values)) == {first} and has_plain_state(first)
        return (first,) if is_one else ()

    def _grain(self) -> Grain:
        """All that has been appended."""
        data, buffers, numbers = self._pickler.take()
        length = len(numbers) // _ENTRY
        first = 8 * (len(numbers) + 2 * len(buffers))
        at, parts = first + len(data), [(0, numbers), (first, data)]
        for buffer in buffers:
            at = round_up(at)
            parts.append((at, buffer))
            numbers.extend((at, buffer.nbytes))
            at += buffer.nbytes
        return Grain(Form.PICKLED, parts, at, length)
