"""What jobs have in common, in the parent's memory: pickles that several of them send, and ledgers.

A call like the last one finds its callable and its surroundings there already, and a ledger that need
not be cleared: numbers of blocks only rise, so what former jobs have left in one is nobody's any more.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import cast

from .ledger import NBYTES, Ledger
from .ranges import Limits
from .segments import Region, round_up
from .shm import Arena
from .transport import TERMS_NBYTES, Load, Parcel, Terms

SMALL = 1 << 16  # bytes; a larger pickle is not kept when its job is over, nor compared with others
_MOST = 16  # pickles, and ledgers, that are kept though no job has them


@dataclass(slots=True)
class _Kept:
    data: bytes
    parcel: Parcel
    users: int = 0


class Stock:
    """Parcels and sheets; everything but `store` is to be called under the pool's lock."""

    def __init__(self, arena: Arena, lock: int) -> None:
        """Use `arena`; `lock` is the descriptor that pure Python locks for a ledger."""
        self._arena = arena
        self._lock = lock
        self._numbers = count(1)
        self._kept: dict[bytes, _Kept] = {}
        self._by_number: dict[int, _Kept] = {}
        self._sheets: list[tuple[Region, Ledger]] = []

    def share(self, data: bytes) -> Parcel:
        """A parcel with this pickle, which other jobs may have too.

        Raises:
            OSError: There is not enough memory.
        """
        kept = self._kept.get(data)
        if kept is None:
            parcel = self.store(data)
            if len(data) > SMALL:
                return parcel
            self._make_room()
            kept = self._kept[data] = self._by_number[parcel.number] = _Kept(data, parcel)
        kept.users += 1
        return kept.parcel

    def store(self, data: bytes, buffers: Sequence[memoryview] = ()) -> Parcel:
        """A parcel of its own.

        The buffers get a segment of their own, which workers map copy-on-write: a large array held by a
        callable is in memory once, and a worker that writes to it changes its own copy.

        Raises:
            OSError: There is not enough memory.
        """
        spans = _spans(buffers)
        data = pickle.dumps((spans, data)) if spans else data
        shared = self._arena.allocate(sum(spans[-1]), alone=True) if spans else None
        try:
            for (offset, nbytes), buffer in zip(spans, buffers, strict=True):
                self._arena.view(cast(Region, shared))[offset : offset + nbytes] = buffer.cast("B")
            region = self._arena.allocate(len(data))
        except BaseException:  # Ctrl-C too: to copy them may take long
            if shared is not None:
                self._arena.free(shared, is_unread=True)
            raise
        self._arena.view(region)[: len(data)] = data
        return Parcel(next(self._numbers), region, len(data), shared)

    def begin(self, job: int, terms: Terms, limits: Limits) -> tuple[Load, Ledger]:
        """The sheet of a job, an empty ledger with the terms behind it: what workers are told, and the ledger.

        Raises:
            OSError: There is not enough memory.
        """
        if self._sheets:
            sheet, ledger = self._sheets.pop()
            ledger.begin(limits.claimers, limits.length)
        else:
            sheet = self._arena.allocate(NBYTES + TERMS_NBYTES)
            ledger = Ledger(self._arena.view(sheet), self._lock)
            ledger.clear(limits.claimers, limits.length)
        data = terms.dump()
        self._arena.view(sheet)[NBYTES : NBYTES + len(data)] = data
        return Load(job, sheet, len(data)), ledger

    def take_back(self, terms: Terms, sheet: Region, ledger: Ledger) -> list[Region]:
        """A job is over that had these; returns the regions that are free with it."""
        regions = [*self.let_go(terms.surroundings), *self.let_go(terms.call)]
        if len(self._sheets) == _MOST:
            return [*regions, sheet]
        self._sheets.append((sheet, ledger))
        return regions

    def close(self) -> None:
        """Forget everything: the memory goes."""
        self._kept.clear()
        self._by_number.clear()
        self._sheets.clear()

    def let_go(self, parcel: Parcel) -> list[Region]:
        """A parcel has a user less; returns the regions that are free with it."""
        if kept := self._by_number.get(parcel.number):
            kept.users -= 1
            return []
        return [parcel.region] if parcel.buffers is None else [parcel.region, parcel.buffers]

    def _make_room(self) -> None:
        idle = [kept for kept in self._kept.values() if not kept.users]
        for kept in idle[: max(0, len(idle) - _MOST + 1)]:
            del self._kept[kept.data], self._by_number[kept.parcel.number]
            self._arena.free(kept.parcel.region)


def _spans(buffers: Sequence[memoryview]) -> list[tuple[int, int]]:
    """Offset and length of each buffer, one behind the other."""
    spans, end = [], 0
    for buffer in buffers:
        spans.append((end, buffer.nbytes))
        end = round_up(end + buffer.nbytes)
    return spans
