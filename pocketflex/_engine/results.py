"""The results of a block, as the parent takes them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from .grains import Form
from .reading import WHOLE, Place, Reader
from .segments import Region

_ARRAY_TYPES = {1: "i8", 2: "f8", 7: "?"}  # the columns that are arrays already: of int, float, bool
_SMALL = 4096  # bytes; the copy of a smaller array costs less than the memory that a view of it holds


class ResultReader(Reader):
    """The results of a block; arrays are views of its memory, which is theirs until they are gone."""

    def __init__(self, region: Region, memory: Any, length: int, release: Callable[[], None]) -> None:
        """Read a block of so many results.

        Args:
            region: Where it lies.
            memory: The mapping of its segment.
            length: How many results it has.
            release: Called when nothing refers to the block any more.

        Raises:
            ValueError: The bytes are no such block.
        """
        self._release = release
        try:
            super().__init__(region, memory, length)
        except ValueError:
            release()
            raise

    def read(self, results: list[Any], at: int) -> dict[int, Any]:
        """Put the results into a list that has room for them, from a position on.

        Returns:
            What failed, by position: a FailureRecord, or the exception of loading a result.
        """
        failed: dict[int, Any] = {}
        try:
            for place in self._places:
                self._read_grain(place, results, at, failed)
                at += place.length
        finally:
            self._leave()
        return failed

    def array(self) -> Any:
        """The results as an ndarray with a row for each, perhaps a view of the block.

        None, and nothing is read, where they are not of one form.
        """
        forms = {place.form for place in self._places}
        if len(forms) > 1 or not forms <= _ARRAY_TYPES.keys() | {Form.ARRAYS, Form.NUMBERS}:
            return None
        import numpy as np

        try:
            pieces = [self._as_rows(place) for place in self._places]
            return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        finally:
            self._leave()

    def _as_rows(self, place: Place) -> Any:
        if place.form == Form.ARRAYS:
            return self._rows(place, place.length, place.nbytes)
        if place.form == Form.NUMBERS:
            return self._numbers(place).copy()
        rows = self._base()[place.at : place.at + place.nbytes].view(_ARRAY_TYPES[place.form])
        return rows.reshape(place.length)

    def _read_grain(self, place: Place, results: list[Any], at: int, failed: dict[int, Any]) -> None:
        if self._fill(place, results, at):
            return
        if place.form == Form.ARRAYS:
            rows = self._rows(place, place.length, place.nbytes)
            is_small = place.nbytes < _SMALL * place.length and rows.dtype.kind != "V"  # their copy has no padding
            results[at : at + place.length] = [row.copy() for row in rows] if is_small else list(rows)
        elif place.form == Form.RAGGED:
            views = self._ragged(place)
            results[at : at + place.length] = [
                view.copy() if view.nbytes < _SMALL and view.dtype.kind != "V" else view for view in views
            ]
        elif place.form in WHOLE:
            self._read_whole(place, results, at, failed)
        else:
            self._read_entries(place, results, at, failed)

    def _read_whole(self, place: Place, results: list[Any], at: int, failed: dict[int, Any]) -> None:
        try:
            results[at : at + place.length] = self._load_whole(place)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # of importing their class, say
            failed.update(dict.fromkeys(range(at, at + place.length), error))

    def _read_entries(self, place: Place, results: list[Any], at: int, failed: dict[int, Any]) -> None:
        entries = self._entries(place, self._buffer)
        for position in range(place.length):
            try:
                results[at + position] = entries.load(position)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # also SystemExit from a user's __setstate__: it costs one item
                failed[at + position] = error
            else:
                if entries.is_failure(position):
                    failed[at + position] = results[at + position]

    def _buffer(self, at: int, nbytes: int) -> Any:
        if nbytes < _SMALL:
            return bytearray(self._bytes[at : at + nbytes])
        return self._base()[at : at + nbytes]

    def _leave(self) -> None:
        """Release the block now, or when the last view of it goes."""
        root, self._root = self._root, None
        if root is None:
            self._release()
        else:
            _leases[id(root)] = weakref.ref(root, _Lease(id(root), self._release))


class _Lease:
    """Called when the root of all views of a block is gone."""

    __slots__ = ("_number", "_release")

    def __init__(self, number: int, release: Callable[[], None]) -> None:
        self._number = number
        self._release = release

    def __call__(self, _: object) -> None:
        del _leases[self._number]
        self._release()


_leases: dict[int, weakref.ref[Any]] = {}  # weak references must live to be called; by id of what they refer to
