"""Spans of items, how they are shared out, and what dispatch says is to be done with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

MOST_GRAINS = 64  # in a block: as many owners as its entry in the ledger has
MOST_LOTS = 64  # blocks of a job at a time: as many entries as its ledger has


class Span(NamedTuple):
    """Items from `start` up to but not including `stop`."""

    start: int
    stop: int


class Plan(NamedTuple):
    """Instruction: encode these items into a block next, claimable in multiples of `grain` items."""

    span: Span
    grain: int


class Blame(NamedTuple):
    """Instruction: this item has failed for good, after so many attempts."""

    job: int
    item: int
    attempts: int


class Tried(NamedTuple):
    """What an item has behind it that is to be tried again after a wait."""

    attempts: int = 0
    milliseconds: int = 0  # that these took

    def pack(self) -> int:
        """As one word; 0 if there is nothing behind it."""
        return self.milliseconds << 32 | self.attempts

    @classmethod
    def unpack(cls, word: int) -> Tried:
        """What `pack` gave."""
        return cls(word & 0xFFFFFFFF, word >> 32)


class Running(NamedTuple):
    """What a worker that has ended was doing: `job` and `item`, -1 for none."""

    job: int
    item: int


class Endurance(NamedTuple):
    """After what a worker is replaced, 0 for never.

    Attributes:
        tasks: Items that it has run.
        nbytes: Memory of its own that it has come to keep.
    """

    tasks: int = 0
    nbytes: int = 0


NO_LIMIT = Endurance()


class Limits(NamedTuple):
    """What a job allows.

    Attributes:
        max_workers: Workers that may claim its items.
        chunksize: Items that are claimed at a time; None: decided by `Pace`.
        crash_retries: How often an item is tried again after it has ended its worker.
        length: Number of items, None if unknown.
        is_windowed: Whether planning waits for delivery.
        is_whole: Whether what is claimed is called as a whole, so that blame needs claims of one item.
        is_joined: Whether the job's owner runs items itself, beside the workers.
        crashes: Workers that the first item has ended before the job began.
        tasks: Items after which a worker is replaced, None for any number.
        nbytes: Memory of their own that the workers may have between them, None for any.
    """

    max_workers: int
    chunksize: int | None = None
    crash_retries: int = 1
    length: int | None = None
    is_windowed: bool = False
    is_whole: bool = False
    is_joined: bool = False
    crashes: int = 0
    tasks: int | None = None
    nbytes: int | None = None

    def endurance(self) -> Endurance:
        """After what a worker is replaced."""
        return Endurance(self.tasks or 0, max(1, self.nbytes // self.max_workers) if self.nbytes else 0)

    @property
    def claimers(self) -> int:
        """How many share the items: the workers, and the owner if it runs some itself."""
        return self.max_workers + self.is_joined


@dataclass(slots=True)
class Lot:
    """The items of a block that workers may claim.

    Attributes:
        job: The job that they belong to.
        start: Index of the first.
        settled: A byte for each: 0 while it is this block's, 1 once it has an outcome or went elsewhere.
        open: How many are not settled.
    """

    job: int
    start: int
    settled: bytearray
    open: int

    def settle(self, start: int, stop: int) -> int:
        """Mark items, by index; returns how many had not been marked."""
        part = slice(start - self.start, stop - self.start)
        fresh = self.settled.count(0, part.start, part.stop)
        self.settled[part] = b"\1" * (part.stop - part.start)
        self.open -= fresh
        return fresh

    def unsettled(self, start: int, stop: int) -> list[Span]:
        """What of these items, by index, is not settled."""
        spans = []
        at, end = start - self.start, stop - self.start
        while (begin := self.settled.find(0, at, end)) >= 0:
            at = self.settled.find(1, begin, end)
            at = end if at < 0 else at
            spans.append(Span(self.start + begin, self.start + at))
        return spans


def joined(claimed: Iterable[tuple[int, Span]]) -> list[tuple[int, Span]]:
    """Neighbouring spans of a block as one: what runs as a chunk is blamed as one."""
    joined: list[tuple[int, Span]] = []
    for number, span in sorted(claimed):
        if joined and joined[-1][0] == number and joined[-1][1].stop == span.start:
            joined[-1] = number, Span(joined[-1][1].start, span.stop)
        else:
            joined.append((number, span))
    return joined
