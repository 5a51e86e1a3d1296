"""How many items make a range: sized by the time that the last ones took, not by their number."""

from __future__ import annotations

_TARGET = 0.040  # seconds a range should take: both sides spend up to 0.5 ms on each, so 1 %
_LEAST = 0.002  # seconds: a range does not shrink below this towards the end, it would cost more than it saves
_PREFETCH_BELOW = 0.080  # seconds: a longer range hides the round trip (0.1 ms) by itself
_GROWTH = 8  # a range is at most so much larger than one that was measured
BUDGET = 2 * _TARGET  # seconds after which a worker hands the rest back


class Pace:
    """How many items make a range, from how long the last ones took."""

    def __init__(self) -> None:
        self._seconds: float | None = None  # of one item; a mean in which the last range counts half
        self._most = 1  # items: grows with what has been measured, shrinks to what fits a block

    @property
    def is_short(self) -> bool:
        """Whether ranges are so short that a worker should have the next one waiting."""
        return self._seconds is not None and self.size() * self._seconds < _PREFETCH_BELOW

    def size(self, left: int | None = None, workers: int = 1) -> int:
        """Items that take about the target time, fewer when only `left` are left for the workers."""
        if self._seconds is None:
            return 1
        each = max(self._seconds, 1e-9)
        most = int(_TARGET / each)
        if left is not None:
            most = min(most, max(left // (2 * workers), int(_LEAST / each)))
        return max(1, min(self._most, most))

    def measure(self, items: int, seconds: float) -> None:
        """Take a finished range into account."""
        each = seconds / items
        self._seconds = each if self._seconds is None else (self._seconds + each) / 2
        self._most = max(self._most, items * _GROWTH)

    def fit(self, items: int) -> None:
        """A block was full with so many items."""
        self._most = items
