"""A job as a worker sees it, and where a worker tells what became of its items."""

from __future__ import annotations

from typing import Protocol

from ..call import Call
from .fetching import Fetcher
from .items import ItemReader
from .ledger import Entry, Ledger
from .pace import Pace
from .records import Record
from .stopwatch import Stopwatch
from .transport import Terms, Transport


class Office(Protocol):
    """Where records are told: the worker's `Desk`."""

    number: int
    transport: Transport
    words: memoryview

    def tell(self, record: Record) -> None:
        """Tell the parent."""

    def ring(self) -> None:
        """Have the parent look at the board, if it sleeps."""

    def stopwatch(self) -> Stopwatch:
        """Measure from now on how long work takes."""


class Task:
    """A job as a worker sees it."""

    def __init__(self, job: int, call: Call, ledger: Ledger, terms: Terms) -> None:
        self.job = job
        self.call = call
        self.ledger = ledger
        self.pace = Pace()
        self.timeout = terms.timeout
        self.is_fixed = terms.is_fixed
        self.has_buffers = terms.call.buffers is not None
        self.endurance = terms.endurance
        self.large = 0  # bytes of the last result, where these are many
        self._reader: tuple[int, ItemReader] | None = None  # of the block that was last claimed

    def want(self, most: int | None = None) -> int:
        """Items to claim, so many at the most."""
        wanted = 1 if self.is_fixed else self.pace.size()
        return wanted if most is None else min(wanted, most)

    def forget(self, segment: int) -> None:
        """A segment has gone: refer to it no longer."""
        if self._reader is not None and self._reader[1].segment == segment:
            self._reader = None

    def read(self, entry: Entry, transport: Transport, fetcher: Fetcher) -> ItemReader:
        """The reader of a block."""
        if self._reader is None or self._reader[0] != entry.number:
            self._reader = entry.number, ItemReader(entry.region, transport.memory, entry.length, fetcher)
        return self._reader[1]
