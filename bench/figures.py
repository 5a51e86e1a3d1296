"""What a race gives: the figures of each peer, round by round, and what is computed from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from statistics import median


class Status(Enum):
    """How a peer came through."""

    FINE = "fine"
    LACKING = "not available"  # this version does not know the option
    FAILED = "failed"


@dataclass
class Entry:
    """One peer on one workload.

    Attributes:
        form: The form that was measured, its best.
        figures: One a round, in the workload's unit.
        status: Whether they count.
        reason: Why not.
    """

    form: str = ""
    figures: list[float] = field(default_factory=list)
    status: Status = Status.FINE
    reason: str = ""

    @property
    def is_fine(self) -> bool:
        """Whether there is a figure."""
        return self.status is Status.FINE and bool(self.figures)

    @property
    def median(self) -> float:
        """The figure that is reported."""
        return median(self.figures)

    @property
    def spread(self) -> float:
        """Largest less smallest figure, as a share of the median."""
        return (max(self.figures) - min(self.figures)) / self.median if self.median else 0.0

    def fail(self, reason: str, status: Status = Status.FAILED) -> None:
        """Its figures do not count any more."""
        self.status, self.reason = status, reason


Table = dict[str, Entry]  # peer -> entry, of one workload


def ratio(rival: Entry, own: Entry) -> float:
    """How many times better `own` is: the median of the ratios within each round.

    The machine's speed changes from minute to minute; within a round it is the same for both, more or less.
    """
    return median(
        theirs / mine if mine else float("inf") for theirs, mine in zip(rival.figures, own.figures, strict=False)
    )


def best_of(table: Table, names: tuple[str, ...]) -> str | None:
    """Who has the lowest median of those that have one."""
    fine = [name for name in names if name in table and table[name].is_fine]
    return min(fine, key=lambda name: table[name].median, default=None)
