"""What is told on the board (board.py): records by workers, letters to them."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from .segments import Region


class Told(IntEnum):
    """What a record says."""

    OUTCOMES = 1  # of these items; where NBYTES is 0 there are none
    NOT_RUN = 2  # these items of a claim will not be run by this worker; others, perhaps, can be claimed again
    LET_GO = 3  # nothing refers to this block any more
    DROPPED = 4  # nothing but what every record may tell: a job of which nothing is read any more
    UNREADABLE = 5  # as NOT_RUN, as they cannot be read as they were sent: to be sent again, copied, each by itself
    LATER = 6  # this item has been tried and is to be tried again after a while


class Record(NamedTuple):
    """What a worker tells the parent of neighbouring items of a block.

    Attributes:
        kind: A `Told`.
        job: Number of the job.
        block: Number of the block that the items came in.
        start: Index of the first item.
        length: How many items.
        segment: Where their outcomes lie in the worker's arena: segment,
        offset: offset,
        nbytes: and length; 0 where there are none.
        nanoseconds: Time spent on them; of LATER, by all attempts so far.
        is_held: Whether the user's code still refers to the block.
        is_alone: Whether that region has a segment of its own.
        dropped: A job that is over, and of which this worker reads nothing any more, or 0.
        attempts: Of LATER: how often the item has been tried.
        pause: Of LATER: nanoseconds to wait.
        peak: Bytes of its own that the worker needed for the claim, told with its last outcomes, of jobs with a limit.
    """

    kind: int
    job: int
    block: int
    start: int = 0
    length: int = 0
    segment: int = 0
    offset: int = 0
    nbytes: int = 0
    nanoseconds: int = 0
    is_held: int = 0
    is_alone: int = 0
    dropped: int = 0
    attempts: int = 0
    pause: int = 0
    peak: int = 0

    @property
    def stop(self) -> int:
        """Index after the last item."""
        return self.start + self.length

    @property
    def region(self) -> Region:
        """Where the outcomes lie."""
        return Region(self.segment, self.offset, self.nbytes, bool(self.is_alone))


class Letter(NamedTuple):
    """To a worker: take part in a job, whose sheet lies there and has so many bytes of terms."""

    job: int
    segment: int
    offset: int
    nbytes: int
