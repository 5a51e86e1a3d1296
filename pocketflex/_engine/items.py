"""The items of a block, as a worker sees them."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..outcome import describe
from .fetching import Fetcher, FetchError
from .grains import Form
from .reading import WHOLE, Column, Place, Reader
from .segments import Region


class ItemReader(Reader):
    """The items of a block, as a worker sees them; arrays are views of the block's memory.

    They may be written to: each item is run by one worker, and what is tried again after a crash is
    written again. The memory must not be used for anything else while a view lives, which
    `is_held` tells.
    """

    def __init__(self, region: Region, memory: Callable[[int], Any], length: int, fetcher: Fetcher) -> None:
        """Read a block of so many items.

        Args:
            region: Where it lies.
            memory: Gives the mapping of a segment.
            length: How many items it has.
            fetcher: Gives what is in the parent's memory.

        Raises:
            ValueError: The bytes are no such block.
        """
        super().__init__(region, memory(region.segment), length)
        self._segments = memory
        self._fetcher = fetcher

    def length(self, grain: int) -> int:
        """Number of items of a grain."""
        return self._places[grain].length

    def cuts(self, grain: int) -> Iterator[tuple[int, int]]:
        """The pieces in which a grain is best run: where each begins and ends, by position."""
        place = self._places[grain]
        if place.is_fetched:
            return self._fetcher.cuts(place.form, self._where(place), place.length)
        return iter(((0, place.length),))

    def piece(self, grain: int, first: int, stop: int) -> list[Any] | Column:
        """What the native loop takes of a grain: a column as it lies, or a list.

        Raises:
            FetchError: It cannot be read in this way.
        """
        place = self._places[grain]
        if place.form < Form.MARSHAL:
            return self._column(place)
        if place.form in WHOLE:
            return self._whole(place)
        return self._fetch(place, first, stop) if place.is_fetched else list(self.items(grain))

    def one_by_one(self, grain: int, first: int, stop: int) -> Iterator[Any]:
        """Items of a grain in the parent's memory, each read when it is asked for, also after one that cannot be."""
        place = self._places[grain]

        def load(position: int) -> Any:
            if not place.is_fetched:  # what was written as one cannot be had one by one
                raise MemoryError(f"there is no memory for the {place.length} items that this one came with")
            return self._fetch(place, position, position + 1)[0]

        return map(load, range(first, stop))

    def is_pickled(self, grain: int) -> bool:
        """Whether the items of a grain must be loaded one by one, by code that may be the user's."""
        return self._places[grain].form == Form.PICKLED

    def items(self, grain: int) -> list[Any] | Iterator[Any]:
        """The items of a grain: a list, or where they are pickled an iterator that loads one at a time.

        Its `next` may raise what an item's own unpickling code raises, and can then be called again for
        the next item; or FetchError.
        """
        place = self._places[grain]
        if place.form <= Form.NUMBERS:
            self._fill(place, scalars := [None] * place.length, 0)
            return scalars
        if place.form in WHOLE:
            return map(_Whole(partial(self._whole, place)).load, range(place.length))
        if self.is_pickled(grain):
            return map(self._entries(place, self._buffer).load, range(place.length))
        if place.is_fetched:
            return self.one_by_one(grain, 0, place.length)
        if place.form == Form.RAGGED:
            return self._ragged(place)
        return list(self._array(place, place.length, place.nbytes))

    def _whole(self, place: Place) -> list[Any]:
        try:
            return self._load_whole(place)
        except (KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:  # of a class that cannot be imported here, say
            raise FetchError(describe(error)) from error

    def _where(self, place: Place) -> list[int]:
        return self._bytes[place.at : place.at + place.nbytes].cast("q").tolist()

    def _fetch(self, place: Place, first: int, stop: int) -> list[Any]:
        return list(self._fetcher.fetch(place.form, self._where(place), place.length, self._notes, first, stop))

    def sequence(self, first: int, stop: int) -> Any:
        """All items of some grains: a list, or a single ndarray where they are the rows of one."""
        places = self._places[first:stop]
        length = sum(place.length for place in places)
        if places[0].form == Form.FETCHED_ROWS:  # which lie side by side, grain after grain
            address, nbytes = self._where(places[0])
            where = [address, nbytes // places[0].length * length]
            return self._fetcher.fetch(Form.FETCHED_ROWS, where, length, self._notes, 0, length)
        if places[0].form in (Form.ROWS, Form.SHARED):
            return self._array(places[0], length, sum(place.nbytes for place in places))
        return [item for grain in range(first, stop) for item in self.items(grain)]

    def _array(self, first: Place, count: int, nbytes: int) -> Any:
        """Rows of the block, or of a shared array, to which nobody writes."""
        if first.form != Form.SHARED:
            return self._rows(first, count, nbytes)
        import numpy as np

        *_, segment = pickle.loads(self._notes)
        return self._rows(first, count, nbytes, np.frombuffer(self._segments(segment), np.uint8))

    def is_held(self) -> bool:
        """Whether somebody still refers to a view of the block's memory."""
        # numpy keeps a reference to the base and no buffer export, so the count is what tells:
        # one is this object's attribute, one the argument of getrefcount
        return self._root is not None and sys.getrefcount(self._root) > 2

    def _buffer(self, at: int, nbytes: int) -> Any:
        return self._base()[at : at + nbytes]


class _Whole:
    """The values of a grain that is loaded as one, when the first of them is asked for."""

    def __init__(self, load_all: Callable[[], list[Any]]) -> None:
        self._load_all = load_all
        self._values: list[Any] = []

    def load(self, position: int) -> Any:
        """Each can be had once."""
        if not self._values:
            self._values = self._load_all()
        found, self._values[position] = self._values[position], None
        return found
