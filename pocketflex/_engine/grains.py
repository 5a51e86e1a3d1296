"""Grains of a block that are no columns, made ready to be copied. blocks.py has the formats."""

from __future__ import annotations

import marshal
import pickle
from array import array
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from . import native, payload
from .failures import FailureRecord
from .scalars import has_plain_state, number_type, pack_numbers, scalar_types
from .segments import round_up

_SCALARS = frozenset({str, int, float, bytes, bool, complex, type(None)})
_PLAIN = _SCALARS | {tuple, list, dict}
_FEW = 16  # values
_MARSHAL_VERSION = 2  # later ones look for shared references, at a third of the speed
FAILURE = 1  # the tag of a failure in a table


class Form(IntEnum):
    """How a grain is written, besides the columns of the native core."""

    MARSHAL = 16
    NUMBERS = 17
    PLAIN = 18
    ROWS = 19
    ARRAYS = 20
    PICKLED = 21
    OBJECTS = 22
    SHARED = 23
    FETCHED_ROWS = 24
    FETCHED_ARRAYS = 25
    FETCHED_BYTES = 26


class Grain(NamedTuple):
    """A grain that is ready to be copied: its form, its pieces with their offsets, its length and entries."""

    form: int
    parts: Sequence[tuple[int, Any]]
    nbytes: int
    length: int


def stack(arrays: list[Any]) -> Grain:
    """A grain of arrays that are alike."""
    return Grain(Form.ARRAYS, ((0, arrays),), len(arrays) * arrays[0].nbytes, len(arrays))


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

    def __init__(self, pickler: payload.ObjectPickler, values: list[Any]) -> None:
        self._pickler = pickler
        self._values = values
        self._entries: list[tuple[int, bytes, list[memoryview]]] = []
        self._nbytes = 0

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
                self._append(0, *self._pickler.dump(value))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # also SystemExit from a user's __reduce__: it costs one item
                return self._grain(), error
            if self._nbytes > limit:
                break
        return self._grain(), None

    def _cut(self, limit: int) -> None:
        """Leave away what does not fit in any case, if all are as large as the first: or much is written in vain."""
        values = self._values
        if len(values) > _FEW and (first := Table(self._pickler, values[:1])._at_once()):
            self._values = values[: max(_FEW, 4 * limit // max(first.nbytes, 1))]

    def fill_watched(self, failed: Mapping[int, FailureRecord], watch: Watch) -> Grain:
        """Write all values, failures where they belong, and for what cannot be pickled a failure too."""
        if not failed:
            watch.begin(0)  # what is written at once is nobody's alone, and not the last item's, whose time it would be
            if made := self._at_once():
                return made
        for position, value in enumerate(self._values):
            if position in failed:
                self._append(FAILURE, *self._pickler.dump(failed[position]))
                continue
            watch.begin(position)
            try:
                self._append(0, *self._pickler.dump(value))
            except BaseException as error:
                self._append(FAILURE, *self._pickler.dump(watch.refuse(position, error)))
        return self._grain()

    def _at_once(self) -> Grain | None:
        """All of them written at once, where that can fail for none of them alone."""
        if character := number_type(self._values):
            data = pack_numbers(self._values, character)
            parts = (0, character.encode().ljust(8)), (8, data)
            return Grain(Form.NUMBERS, parts, 8 + data.nbytes, len(self._values))
        if not _SCALARS.issuperset(map(type, self._values)):
            return self._plain()
        try:
            data = marshal.dumps(self._values, _MARSHAL_VERSION)
        except ValueError:  # marshal's lengths end at 2 GiB
            return None
        return Grain(Form.MARSHAL, ((0, data),), len(data), len(self._values))

    def _plain(self) -> Grain | None:
        """One pickle, where no part of them that can be changed is in two of them: it would be the same one in both."""
        try:
            classes = self._classes()
            if not native.are_plain(self._values, scalar_types(), classes):
                return None
            data = self._pickler.dump(self._values)[0] if classes else pickle.dumps(self._values, protocol=5)
        except Exception:  # what one of them is to blame for, the pickle of that one shows
            return None
        return Grain(Form.OBJECTS if classes else Form.PLAIN, ((0, data),), len(data), len(self._values))

    def _classes(self) -> tuple[type, ...]:
        """The class of all of them, if they are objects that may be pickled as one; else none."""
        first = type(self._values[0])
        is_one = first not in _PLAIN and has_plain_state(first) and set(map(type, self._values)) == {first}
        return (first,) if is_one else ()

    def _append(self, tag: int, data: bytes, buffers: list[memoryview]) -> None:
        self._entries.append((tag, data, buffers))
        self._nbytes += len(data)
        for buffer in buffers:
            self._nbytes += buffer.nbytes

    def _grain(self) -> Grain:
        numbers, parts, at = array("q"), list[tuple[int, Any]](), 8 * self._words()
        listed = 0
        for tag, data, some in self._entries:
            parts.append((at, data))
            at += len(data)
            listed += len(some)
            numbers.extend((tag, at, listed))
        for buffer in self._buffers():
            at = round_up(at)
            parts.append((at, buffer))
            numbers.extend((at, buffer.nbytes))
            at += buffer.nbytes
        parts.append((0, numbers))
        return Grain(Form.PICKLED, parts, at, len(self._entries))

    def _buffers(self) -> Iterator[memoryview]:
        return (buffer for _, _, some in self._entries for buffer in some)

    def _words(self) -> int:
        return 3 * len(self._entries) + 2 * sum(1 for _ in self._buffers())
