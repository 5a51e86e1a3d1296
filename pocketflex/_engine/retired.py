"""Jobs that have ended while workers still run their items: dismissed after a moment, freed when nobody is left."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import monotonic

from .crew import Crew
from .job import Lent, PoolJob, free
from .records import Record, Told
from .stock import Stock

GRACE = 0.05  # seconds that workers have to leave a job that has ended before they are killed


@dataclass(slots=True)
class _Leaving:
    job: PoolJob
    deadline: float  # by time.monotonic
    is_dismissed: bool = False


class Retired:
    """The jobs that have ended and are not forgotten; everything is to be called under the pool's lock.

    Their memory is given back when every worker that took part has said that it reads none of it, or
    has ended; blocks that the user's code has kept views of, when these are gone too.
    """

    def __init__(self, crew: Crew, stock: Stock) -> None:
        self._crew = crew
        self._stock = stock
        self._leaving: dict[int, _Leaving] = {}
        self._held: dict[tuple[int, int], Lent] = {}  # by job and block: what items of jobs long gone still refer to

    def add(self, job: PoolJob) -> None:
        """A job has ended."""
        job.ledger.close()
        for slot, member in job.members.items():
            if member.job == job.number:
                self._crew.cancel(slot, job.number)
        job.dismiss()
        self._leaving[job.number] = _Leaving(job, monotonic() + GRACE)
        self._let_items_go(job.number)
        self._free(job.number)

    def is_running(self, number: int) -> bool:
        """Whether a worker runs items of a job that has ended."""
        return number in self._leaving and any(
            member.job == number and not member.is_dismissed for member in self._leaving[number].job.members.values()
        )

    def take(self, record: Record, slot: int) -> None:
        """A worker has told something of a job that has ended."""
        self._let_items_go(record.job)
        leaving = self._leaving.get(record.job)
        lent = leaving.job.blocks.get(record.block) if leaving else self._held.get((record.job, record.block))
        if lent is not None and record.is_held:
            lent.holders.add(slot)
        elif lent is not None and record.kind == Told.LET_GO:
            lent.holders.discard(slot)
            self._free_held()

    def lose(self, slot: int) -> None:
        """A worker has ended."""
        for leaving in self._leaving.values():
            for lent in leaving.job.blocks.values():
                lent.holders.discard(slot)
        for lent in self._held.values():
            lent.holders.discard(slot)
        self._free_held()
        for number in list(self._leaving):
            self._let_items_go(number)
            self.let_go(number, slot)

    def _let_items_go(self, number: int) -> None:
        """Once no worker runs a job, none reads its items in this process's memory: the caller may have it back."""
        if number in self._leaving and not self.is_running(number):
            for lent in self._leaving[number].job.blocks.values():
                lent.keeps = None

    def let_go(self, number: int, slot: int) -> None:
        """A worker reads nothing of a job any more."""
        if number in self._leaving:
            self._leaving[number].job.members.pop(slot, None)
            self._free(number)

    def patience(self) -> float:
        """Seconds until the grace of a job ends, infinite if there is none."""
        left = (leaving.deadline - monotonic() for leaving in self._leaving.values() if not leaving.is_dismissed)
        return max(0.0, min(left, default=math.inf))

    def enforce(self) -> None:
        """Dismiss the workers of the jobs whose grace has ended."""
        for number, leaving in self._leaving.items():
            if not leaving.is_dismissed and monotonic() >= leaving.deadline:
                self.dismiss(number)

    def dismiss(self, number: int) -> None:
        """Kill the workers that still run items of a job that has ended."""
        if leaving := self._leaving.get(number):
            leaving.is_dismissed = True
            for member in leaving.job.members.values():
                if member.job == number and not member.is_dismissed:
                    self._crew.kill(member.slot)
            self._let_items_go(number)

    def _free(self, number: int) -> None:
        job = self._leaving[number].job
        if job.members:
            return
        del self._leaving[number]
        for block in [block for block, lent in job.blocks.items() if lent.holders]:
            self._held[number, block] = job.blocks.pop(block)
        regions = [lent.region for lent in job.blocks.values()]
        for region in (*regions, *self._stock.take_back(job.terms, job.load.sheet, job.ledger)):
            free(self._crew.arena, region, list(self._crew))

    def _free_held(self) -> None:
        for key in [key for key, lent in self._held.items() if not lent.holders]:
            free(self._crew.arena, self._held.pop(key).region, list(self._crew))
