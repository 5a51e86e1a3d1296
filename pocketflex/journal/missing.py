"""Which items a journal does not have: what is left to compute, and which index each of them has in the input.

An executor numbers what it is given from 0: that is the `position` of an item among the missing ones. Its `index` is
that among all items.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from ..prepared import pair, place
from .digests import digest_item
from .section import Section

_LEAD = 256  # known items that are read before their results are handed on


class Missing(Protocol):
    """Items that are not in a journal."""

    known: deque[int]  # indexes of items in the journal that were met, for who wants results in any order
    read: int  # items that were looked at, from the first on
    error: Exception | None  # that has ended the input
    is_any: bool  # whether there may be something to compute

    @property
    def items(self) -> Any:
        """The missing items, for an executor."""

    def numbered(self, call: Any) -> tuple[Any, Any]:
        """`items`, and a call with a seed that gives each of them the random numbers of its index."""

    def index(self, position: int) -> int:
        """The index of a missing item."""

    def take_digest(self, position: int) -> bytes | None:
        """The digest of a missing item, once; then None."""

    def drop(self, positions: range) -> None:
        """These items have been dealt with; nobody asks for them again."""

    def skip(self) -> bool:
        """Read some items, as long as they are in the journal; False once one is not, or there are no more."""


class ListedMissing:
    """Of items that are all there."""

    def __init__(self, items: Any, digests: bytes, width: int, section: Section) -> None:
        """Look all of them up; `digests` are one behind the other, `width` bytes each."""
        self.read = len(items)
        self.error: Exception | None = None
        self._digests, self._width = digests, width
        every = range(self.read)
        is_known = [False] * self.read if section.is_empty else [section.has(at, self._digest(at)) for at in every]
        self.known = deque(at for at in every if is_known[at])
        self._indexes: Sequence[int] = [at for at in every if not is_known[at]] if self.known else every
        self.items = select(items, self._indexes) if self.known else items
        self.is_any = bool(self._indexes)
        self._taken = bytearray(len(self._indexes))

    def numbered(self, call: Any) -> tuple[Any, Any]:
        """The items, and a call that knows their indexes."""
        return place(call, self._indexes) if self.known else call, self.items

    def _digest(self, index: int) -> bytes:
        return self._digests[index * self._width : (index + 1) * self._width]

    def index(self, position: int) -> int:
        """The index of a missing item."""
        return self._indexes[position]

    def take_digest(self, position: int) -> bytes | None:
        """The digest of a missing item, once."""
        is_taken, self._taken[position] = self._taken[position], 1
        return None if is_taken else self._digest(self._indexes[position])

    def drop(self, positions: range) -> None:
        """Nothing is kept of an item."""

    def skip(self) -> bool:
        """Nothing is to be read."""
        return False


def select(items: Any, indexes: Sequence[int]) -> Any:
    """Those of a sequence, in its own kind: rows of an array stay one, without a copy where they are neighbours."""
    if type(items) in (list, tuple, range):
        return [items[index] for index in indexes]
    is_run = bool(indexes) and indexes[-1] - indexes[0] == len(indexes) - 1
    return items[indexes[0] : indexes[-1] + 1] if is_run else items[list(indexes)]


class StreamedMissing:
    """Of items that come one after another; each is looked up when it is read, and not kept."""

    def __init__(self, items: Iterator[Any], section: Section, is_ordered: bool) -> None:
        self.known: deque[int] = deque()
        self.is_any = True
        self.read = 0
        self.error: Exception | None = None
        self._source = items
        self._section = section
        self._is_ordered = is_ordered
        self._next: list[Any] = []  # the item that was read and not yet fed, if any
        self._is_over = False
        self._fed = 0
        self._indexes: dict[int, int] = {}
        self._digests: dict[int, bytes] = {}

    def index(self, position: int) -> int:
        """The index of a missing item."""
        return self._indexes[position]

    def drop(self, positions: range) -> None:
        """These items have been dealt with."""
        for position in positions:
            self._digests.pop(position, None)
            del self._indexes[position]

    def take_digest(self, position: int) -> bytes | None:
        """The digest of a missing item, once."""
        return self._digests.pop(position, None)

    def skip(self) -> bool:
        """Read some items as long as they are in the journal."""
        return not self._next and all(self._draw() for _ in range(_LEAD))

    def _draw(self) -> bool:
        """Read an item: whether it is in the journal."""
        try:
            item = next(self._source)
        except StopIteration:
            self._is_over = True
            return False
        except Exception as error:  # raised once the results of the items before are delivered
            self._is_over, self.error = True, error
            return False
        index, digest = self.read, digest_item(item)
        self.read += 1
        if self._section.has(index, digest):
            if not self._is_ordered:
                self.known.append(index)
            return True
        self._next.append(item)
        self._indexes[self._fed], self._digests[self._fed] = index, digest
        self._fed += 1
        return False

    def numbered(self, call: Any) -> tuple[Any, Any]:
        """The items, each with its index, and a call for such pairs: nobody knows yet which there will be."""
        return pair(call), ((self._indexes[position], item) for position, item in enumerate(self.items))

    @property
    def items(self) -> Iterator[Any]:
        """The missing items, in the end all of them; to be asked for once. Not kept: it refers to this object."""
        while self._next or not self._is_over:
            if self._next or (not self._draw() and self._next):
                yield self._next.pop()
