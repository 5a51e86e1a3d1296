"""The ledger of a job: the blocks whose items workers may claim, in shared memory. native/README.md has the layout.

The parent writes it, the workers claim from it; `native` (or its twin) has the operations that must
not be torn.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

from . import native
from .ranges import MOST_LOTS, Span
from .segments import Region

_CLOSED, _PUBLISHED, _CLAIMED, _TOTAL, _WORKERS = range(1, 6)
_ENTRIES, _ENTRY = 8, 8
NBYTES = 8 * native.LEDGER_WORDS
_UNKNOWN = -1


class Entry(NamedTuple):
    """A block as workers see it.

    Attributes:
        number: Its number.
        start: Index of its first item.
        length: Items.
        grain: Items in a grain; the last has fewer.
        region: Where it lies in the parent's arena.
        tried: Of one item that has been tried before and waited since: what `Later` says of it, packed.
    """

    number: int
    start: int
    length: int
    grain: int
    region: Region
    tried: int = 0

    def span(self, first: int, grains: int) -> Span:
        """The items of some grains, by index."""
        begin = first * self.grain
        return Span(self.start + begin, self.start + min(begin + grains * self.grain, self.length))


class Claim(NamedTuple):
    """Grains of a block that belong to one worker now."""

    entry: Entry
    position: int
    first: int
    grains: int

    @property
    def span(self) -> Span:
        """Its items, by index."""
        return self.entry.span(self.first, self.grains)

    def unbegun(self, at: int) -> tuple[int, Span]:
        """What is left of it before item `at`: so many whole grains, and the items of a grain that has begun."""
        entry, stop = self.entry, self.span.stop
        begun = -(-(at - entry.start) // entry.grain)  # grains of the block that have begun
        whole = max(0, self.first + self.grains - begun)
        return whole, Span(at, min(entry.span(begun, 1).start, stop) if whole else stop)


class Ledger:
    """One job's ledger, on either side."""

    def __init__(self, view: memoryview, lock: int) -> None:
        """Use the words in `view`; `lock` is the descriptor that pure Python locks."""
        self._words = view[:NBYTES].cast("q")
        self._lock = lock
        self._free = list(range(MOST_LOTS))
        self._positions: dict[int, int] = {}  # number of a block -> its entry
        self._withdrawn = 0  # items that the owner of the job has run itself, without publishing them

    # --- the parent -----------------------------------------------------------------------------

    def clear(self, workers: int, length: int | None) -> None:
        """Begin: no blocks yet."""
        self._words[:] = array("q", bytes(NBYTES))
        self.begin(workers, length)

    def begin(self, workers: int, length: int | None) -> None:
        """Begin once more, when no worker reads anything of the job before; what that has published is nobody's."""
        self._free, self._positions, self._withdrawn = list(range(MOST_LOTS)), {}, 0
        self._words[:_ENTRIES] = array("q", (0, 0, 0, 0, _UNKNOWN if length is None else length, workers, 0, 0))

    def publish(self, entry: Entry) -> None:
        """Let workers claim the items of a block."""
        position = self._positions[entry.number] = self._free.pop()
        at = _ENTRIES + _ENTRY * position
        number, start, length, grain, region, tried = entry
        self._words[at : at + 8] = array("q", (number, start, length, grain, *region[:3], tried))
        native.publish(self._words, position, self._lock)

    def forget(self, number: int) -> None:
        """A block is done with; its entry is used for another."""
        if number in self._positions:
            self._free.append(self._positions.pop(number))

    def seal(self, length: int) -> None:
        """The input has ended."""
        self._words[_TOTAL] = length - self._withdrawn

    def withdraw(self, count: int) -> None:
        """So many items are done without having been published: they are not to be claimed."""
        self._withdrawn += count
        if self._words[_TOTAL] != _UNKNOWN:
            self._words[_TOTAL] -= count

    def repeat(self) -> None:
        """An item that was claimed will be published once more: what is left of all grows by one."""
        self.withdraw(-1)

    def close(self) -> None:
        """Nobody may claim any more."""
        self._words[_CLOSED] = 1
        self._words[0] = 0
        native.fence()

    @property
    def unclaimed(self) -> int:
        """Items that nobody has claimed."""
        return self._words[_PUBLISHED] - self._words[_CLAIMED]

    @property
    def left(self) -> int | None:
        """Items that nobody has begun, published or not; None if only the end will tell."""
        total = self._words[_TOTAL]
        return None if total == _UNKNOWN else total - self._words[_CLAIMED]

    def owned(self, worker: int) -> list[tuple[int, Span]]:
        """What a worker has ever claimed of the blocks that are there: block and items."""
        found = []
        for position, grain in native.owned(self._words, worker):
            entry = self._entry(position)
            if self._positions.get(entry.number) == position:
                found.append((entry.number, entry.span(grain, 1)))
        return found

    def mend(self, worker: int) -> None:
        """After a worker's death, in the middle of anything: let what nobody owns be seen again."""
        for position in self._positions.values():
            native.hand_back(self._words, position, 0, 0, worker, self._lock)

    # --- a worker -------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether anything can be claimed; a guess."""
        return native.load(self._words, 0) != 0 and not self.is_closed

    @property
    def is_closed(self) -> bool:
        """Whether the job is over."""
        return native.load(self._words, _CLOSED) != 0

    def claim(self, worker: int, want: int) -> Claim | None:
        """Take about `want` items of one block, fewer towards the end of the job."""
        taken = native.claim(self._words, worker, want, self._lock)
        return Claim(self._entry(taken[0]), *taken) if taken else None

    def hand_back(self, claim: Claim, grains: int, worker: int) -> None:
        """Let others claim the last so many grains of a claim."""
        first = claim.first + claim.grains - grains
        native.hand_back(self._words, claim.position, first, grains, worker, self._lock)

    def _entry(self, position: int) -> Entry:
        at = _ENTRIES + _ENTRY * position
        number, start, length, grain, segment, offset, nbytes, tried = self._words[at : at + 8]
        return Entry(number, start, length, grain, Region(segment, offset, nbytes), tried)
