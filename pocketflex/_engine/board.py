"""The board: one page where every worker publishes what it runs, and reads what to drop.

Layout: one slot of 64 bytes a worker (a cache line, so that workers do not slow each other), each
of 64-bit signed integers in the machine's byte order:

    word  written by  meaning
    0     worker      number of the range that it runs, -1 when it runs none
    1     worker      index of the item that it runs, -1 between ranges
    2     worker      when that item began, in ns of CLOCK_MONOTONIC; kept only for jobs with a timeout
    3     parent      number of a job that is cancelled: the worker drops that job's ranges

There are no locks: a dead worker could hold one. Every word has one writer and is written with one
aligned 8-byte store. Tolerated races, and their worst consequence: the parent reads words 0 to 2
while the worker changes them. The worker writes word 2 before word 1 and the parent reads them the
other way round, so a deadline may be seen late, never early. Blame is taken only after the worker
has ended, when its words no longer change. A worker reads word 3 late by a few items.
"""

from __future__ import annotations

import os

from .shm import Segment

MAX_WORKERS = 1024
RANGE, INDEX, BEGAN, CANCELLED = range(4)
_WORDS = 8  # a slot: 8 words of 8 bytes, one cache line


class Board:
    """All slots, mapped by the parent, the spawner and, by inheritance, every worker."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._words = memoryview(segment.map).cast("q")

    @classmethod
    def create(cls) -> Board:
        """A fresh board."""
        return cls(Segment.create(MAX_WORKERS * _WORDS * 8))

    @classmethod
    def inherit(cls, fd: int) -> Board:
        """The board behind a descriptor that this process was started with."""
        return cls(Segment(fd, os.fstat(fd).st_size))

    @property
    def descriptor(self) -> int:
        """The file descriptor to hand to the spawner."""
        return self._segment.fd

    def slot(self, number: int) -> memoryview:
        """The words of one worker, to be indexed with RANGE, INDEX, BEGAN, CANCELLED."""
        return self._words[number * _WORDS : (number + 1) * _WORDS]

    def clear(self, number: int) -> None:
        """Make a slot ready for a new worker."""
        slot = self.slot(number)
        slot[RANGE] = slot[INDEX] = -1
        slot[BEGAN] = slot[CANCELLED] = 0

    def close(self) -> None:
        """Unmap the board."""
        self._words.release()
        self._segment.close()
