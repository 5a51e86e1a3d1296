"""The board: where every worker publishes what it runs and what it has done, and reads what to drop.

One memfd of slots, one slot of 12 KB a worker, and one in front of them for the parent. A slot has
64-bit signed integers in the machine's byte order:

    word    written by  meaning
    0       worker      JOB: the job, or errand, whose items it runs; -1 for none, 0 while it starts, -2 where it ends,
                        as it has run enough (wear.py), -3 less the job while it loads the callable of that
    1       worker      INDEX: the item that it runs, -1 for none
    2       worker      BEGAN: when that item began, ns of CLOCK_MONOTONIC; kept only for jobs with a timeout
    3       worker      COUNT: how many items run under that index, more than 1 where they run as a chunk
    4       parent      CANCELLED: a job whose items are no longer wanted
    5       worker      REST: 0 while it works; n in its n-th rest, -n where it rests because its records are full
    6       worker      HEAD: how many records it has written
    7       worker      ASLEEP: 1 while it waits in the kernel, or is about to, and must be rung
    8       parent      TAIL: how many records have been read; the parent's words are on a cache line of their own
    9       parent      PACKETS: how many have been sent by the socket
    10      parent      POSTED: changes with every packet, letter and call; what a worker watches before it sleeps
    11      worker      SAID: how many messages it has sent of what items say; seldom, so it may share that line
    12      worker      ATTEMPT: how often that item has been tried, this time included
    16...   worker      62 records of 16 words: HEAD - TAIL of them wait to be read
    1008... parent      4 letters of 4 words: jobs to take part in
    1024... both        the hatch (hatch.py): a call of one item, and its result

    record  KIND JOB BLOCK START LENGTH SEGMENT OFFSET NBYTES NANOSECONDS IS_HELD IS_ALONE DROPPED ATTEMPTS PAUSE
            PEAK
    letter  JOB SEGMENT OFFSET NBYTES   JOB is written last; the worker makes it 0 when it has read the letter

In the parent's slot:

    0       parent      WAITS: whether it waits in the kernel, and must be rung
    1       workers     NEWS: differs after every record; what the parent watches before it sleeps
    2       parent      SPIN: for how many nanoseconds a worker may watch POSTED before it sleeps

There are no locks: a dead worker could hold one. Every word is written with one aligned 8-byte store, and has one
writer; only JOB of a letter and the data of a hatch have two, in turn, and NEWS has all workers: it need only differ. A
record is complete before HEAD says so. Whoever is about to sleep says so first and then looks for news once more;
whoever has news writes them first and then looks whether the other side sleeps; a fence stands between, so at least
one of them sees the other.

Tolerated races, and their worst consequence: the parent reads words 0 to 3 while the worker changes them. The worker
writes BEGAN before INDEX and the parent reads them the other way round, so a deadline may be seen late, never early.
Blame is taken only after the worker has ended, when its words no longer change. A worker sees CANCELLED late by a few
items.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from typing import Any

from . import native
from .hatch import Hatch
from .records import Letter, Record
from .segments import Segment

STARTING, SPENT = 0, -2  # in place of the number of a job
MAX_WORKERS = 1022  # a ledger knows one more
JOB, INDEX, BEGAN, COUNT, CANCELLED, REST, HEAD = range(7)
ASLEEP, TAIL, PACKETS, POSTED, SAID, ATTEMPT = range(7, 13)
WAITS, NEWS, SPIN = range(3)  # in the parent's slot
_WORDS, _HATCH = 1536, 1024  # a slot: three pages, which are reserved when its worker is hired
_FIRST, _RECORDS, _RECORD, _FIELDS = 16, 62, 16, 15
_LETTERS, _LETTER, _MAIL = 4, 4, _FIRST + _RECORDS * _RECORD


def loading(job: int) -> int:
    """What stands in place of a job's number while its callable is loaded; of that again the number."""
    return -3 - job


class Slot:
    """The words of one worker."""

    def __init__(self, words: memoryview) -> None:
        self.words = words
        self._letters = 0  # written, or read, from here

    def hatch(self) -> Hatch:
        """The hatch of the worker."""
        return Hatch(self.words[_HATCH:])

    def clear(self) -> None:
        """Make the slot ready for a new worker."""
        self.hatch().clear()
        self.words[:16] = array("q", [STARTING, -1, *[0] * 14])
        self.words[_MAIL : _MAIL + _LETTERS * _LETTER] = array("q", [0] * _LETTERS * _LETTER)

    def push(self, record: Record) -> bool:
        """Write a record; False if there is no room."""
        head = self.words[HEAD]
        if head - native.load(self.words, TAIL) == _RECORDS:
            return False
        at = _FIRST + _RECORD * (head % _RECORDS)
        self.words[at : at + len(record)] = array("q", record)
        native.store(self.words, HEAD, head + 1)
        return True

    def has_news(self) -> bool:
        """Whether a record waits to be read."""
        return native.load(self.words, HEAD) != self.words[TAIL]

    def pull(self) -> list[Record]:
        """Read all records."""
        tail, head = self.words[TAIL], native.load(self.words, HEAD)
        records = []
        for number in range(tail, head):
            at = _FIRST + _RECORD * (number % _RECORDS)
            records.append(Record(*self.words[at : at + _FIELDS]))
        if head != tail:
            native.store(self.words, TAIL, head)
        return records

    @property
    def has_room(self) -> bool:
        """Whether there is room for a letter."""
        return native.load(self.words, _MAIL + _LETTER * (self._letters % _LETTERS)) == 0

    def post(self, letter: Letter) -> bool:
        """Write a letter; False if there is no room."""
        at = _MAIL + _LETTER * (self._letters % _LETTERS)
        if not self.has_room:
            return False
        self.words[at + 1 : at + _LETTER] = array("q", letter[1:])
        native.store(self.words, at, letter[0])
        self._letters += 1
        return True

    def letters(self) -> Iterator[Letter]:
        """Read all letters."""
        while job := native.load(self.words, at := _MAIL + _LETTER * (self._letters % _LETTERS)):
            letter = Letter(job, *self.words[at + 1 : at + _LETTER])
            native.store(self.words, at, 0)
            self._letters += 1
            yield letter

    def count_packet(self) -> None:
        """A packet has been sent to the worker."""
        self.words[PACKETS] += 1
        self.count_post()

    def count_post(self) -> None:
        """Have the worker look at its letters, its jobs and its socket."""
        native.store(self.words, POSTED, self.words[POSTED] + 1)


class Board:
    """All slots, mapped by the parent, the spawner and, by inheritance, every worker."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._words = memoryview(segment.map).cast("q")

    @classmethod
    def create(cls) -> Board:
        """A fresh board, of which only the parent's slot has memory.

        Raises:
            OSError: There is not enough memory.
        """
        board = cls(Segment.create((MAX_WORKERS + 1) * _WORDS * 8, reserved=_WORDS * 8))
        board.parent[:16] = array("q", bytes(128))
        return board

    @classmethod
    def inherit(cls, fd: int) -> Board:
        """The board behind a descriptor that this process was started with."""
        return cls(Segment(fd, os.fstat(fd).st_size))

    @property
    def descriptor(self) -> int:
        """The file descriptor to hand to the spawner; also what the twin's operations lock."""
        return self._segment.fd

    @property
    def mapping(self) -> Any:
        """The memory of all slots, an mmap."""
        return self._segment.map

    @property
    def parent(self) -> memoryview:
        """The parent's words."""
        return self._words[:_WORDS]

    def slot(self, number: int) -> Slot:
        """The slot of one worker."""
        return Slot(self._words[(number + 1) * _WORDS : (number + 2) * _WORDS])

    def reserve(self, number: int) -> None:
        """Have memory for a slot, and make it ready for a new worker.

        Raises:
            OSError: There is not enough memory.
        """
        os.posix_fallocate(self.descriptor, (number + 1) * _WORDS * 8, _WORDS * 8)
        self.slot(number).clear()

    def close(self) -> None:
        """Unmap the board."""
        self._words.release()
        self._segment.close()
