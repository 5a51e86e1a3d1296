"""How many items make a share of work: sized by the time that the last ones took, not by their number."""

from __future__ import annotations

TARGET = 0.030  # seconds a claim should take: both sides spend up to 0.2 ms on each, so half a percent
BUDGET = 2 * TARGET  # seconds after which a worker hands the rest of a claim back
_DEAR = 15e-6  # seconds of an item, which takes 0.01 to 2 us to encode
_GRAIN = 0.001  # seconds: what is claimed is a multiple of this; shorter ones cost more than they even out
MOST_ITEMS = 1 << 16  # in a block: half a megabyte of integers, so that a few blocks fit the caches
_LARGEST_GRAIN = 2048  # items: its objects fit an L2 cache while they are decoded, run and encoded again
_FIRST = 64  # items in a share as long as nothing is known: a worker that finds them dear hands the rest back
_GROWTH = 32  # a share is at most so much larger than one that was measured


class Pace:
    """How many items take how long, from what the last ones took.

    Attributes:
        room: Items that a block has room for.
    """

    def __init__(self) -> None:
        self._seconds: float | None = None  # of one item; a mean in which the last share counts half
        self._most = 1  # items: grows with what has been measured
        self.room = MOST_ITEMS

    @property
    def is_known(self) -> bool:
        """Whether anything has been measured."""
        return self._seconds is not None

    def size(self) -> int:
        """Items that take about the target time."""
        return _FIRST if self._seconds is None else self.within(TARGET)

    def within(self, seconds: float) -> int:
        """Items that take about so many seconds; one as long as nothing has been measured."""
        each = seconds if self._seconds is None else self._seconds
        return max(1, min(self._most, self.room, int(seconds / max(each, 1e-9))))

    @property
    def is_dear(self) -> bool:
        """Whether an item takes so long that to carry it is cheap beside it."""
        return self._seconds is not None and self._seconds > _DEAR

    def grain(self) -> int:
        """Items that take about a millisecond."""
        if self._seconds is None:
            return 1
        return max(1, min(self._most, _LARGEST_GRAIN, int(_GRAIN / max(self._seconds, 1e-9))))

    def measure(self, items: int, seconds: float) -> None:
        """Take a finished share into account."""
        each = seconds / items
        self._seconds = each if self._seconds is None else (self._seconds + each) / 2
        self._most = max(self._most, items * _GROWTH)

    def fit(self, items: int, *, is_full: bool) -> None:
        """A block was full with so many items, or had room for all of them."""
        self.room = items if is_full else max(self.room, min(2 * items, MOST_ITEMS))
