"""Errands: calls of one item, each run by a worker that is idle, without a job of the pool.

    owner of the call                        worker
    the item into a hatch         ───────▶   run it
    watch the hatch, then sleep
    take the result               ◀───────   answer, ring if the parent sleeps

To open a job, to share it out and to close it costs several times as much, and one item cannot be shared
out. Whatever is unusual is left to a job, which the caller then begins: no worker is idle, other jobs are
under way, the item is large, the function cannot be loaded, the worker has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from ..errors import WorkerDiedError
from .crew import Crew
from .exclusive import look_for_handlers
from .hatch import Hatch
from .hearing import Work
from .intake import Intake
from .job import Arrived, PoolJob
from .member import Member
from .orders import Death
from .packets import Disconnected
from .ranges import Running
from .records import Record, Told
from .retired import GRACE
from .stock import SMALL, Stock
from .transport import Parcel
from .turn import Turn


@dataclass(frozen=True, slots=True)
class Returned:
    """How an errand has ended: with this result."""

    result: Any


@dataclass(frozen=True, slots=True)
class Lost:
    """How an errand has ended: without a result.

    Attributes:
        death: How the item has ended its worker, None if it has ended none.
    """

    death: Death | None = None


Ended = Returned | Arrived | Lost


@dataclass(slots=True)
class Errand:
    """A call of one item.

    Attributes:
        surroundings: Where the caller stands, from `standpoint.surroundings`.
        call: The pickle of what is called.
        item: The item: alone in a list if it is of a type that columns have, or its pickle.
        work: What it is called.
        is_cancelled: Whether its owner is to give it up.
        number: Its number, unique in the pool, once it has begun.
        member: Its worker, None before.
        ended: What has become of it, None before.
    """

    surroundings: bytes
    call: bytes
    item: list[Any] | bytes
    work: Work
    is_cancelled: bool = False
    number: int = 0
    member: Member | None = None
    ended: Ended | None = None

    @property
    def worker(self) -> Member:
        """The worker that has it."""
        assert self.member is not None  # it has begun
        return self.member

    @property
    def hatch(self) -> Hatch:
        """Where it has been handed in."""
        return self.worker.hatch

    @property
    def is_under_way(self) -> bool:
        """Whether it has begun, and nobody has taken its result."""
        return self.member is not None and self.member.hatch.errand == self.number


class Errands:
    """The errands of a pool."""

    def __init__(
        self,
        crew: Crew,
        turn: Turn,
        stock: Stock,
        jobs: Mapping[int, PoolJob],
        numbers: Iterator[int],
        intake: Intake,
    ) -> None:
        self._intake = intake
        self._hearing = intake.hearing
        self._crew = crew
        self._turn = turn
        self._stock = stock
        self._jobs = jobs
        self._numbers = numbers
        self._here: tuple[bytes, Parcel] | None = None  # the surroundings of the last one, which the stock keeps
        self._is_closed = False

    @property
    def are_possible(self) -> bool:
        """Whether a worker is idle and no job is under way, for all that is known without the lock."""
        return not self._jobs and any(member.is_idle for member in self._crew)

    def run(self, errand: Errand) -> Ended:
        """Have an idle worker run an errand; `Lost` where a job is to be made of it.

        Raises:
            OSError: There is not enough memory.
            WorkerDiedError: The pool has been shut down meanwhile.
        """
        look_for_handlers()
        if self._turn.is_mine:  # below a signal handler, say: a job is refused
            return Lost()
        try:
            if not self._begin(errand):
                return Lost()
            hatch = errand.hatch
            hatch.watch(self._crew.spin)
            is_quiet = hatch.is_answered and not self._jobs and not errand.worker.has_said and not self._hearing.heed()
            if is_quiet and not (answer := hatch.answer()).is_special:
                hatch.errand = 0  # the last thing, so that whoever is interrupted knows whether it is done
                return Returned(answer.result)
            self._turn.lead(lambda: self._is_over(errand) or errand.is_cancelled)
            ended = self._end(errand)
            self._hearing.heed()
            return ended
        except BaseException:  # Ctrl-C, most of all
            try:
                if errand.is_under_way:
                    self._end(errand)
            finally:
                if isinstance(errand.ended, Arrived):
                    errand.ended.release()
            raise
        finally:
            self._hearing.works.pop(errand.number, None)

    def cancel(self, errand: Errand) -> None:
        """Make the errand's owner stop waiting. Safe from any thread."""
        errand.is_cancelled = True
        self._crew.nudge()

    def close(self) -> None:
        """The pool is closed: errands under way fail."""
        self._is_closed = True

    def _begin(self, errand: Errand) -> bool:
        with self._turn.hold():
            member = None if self._jobs or self._is_closed else self._find_idle()
            if member is None or (parcel := self._parcel(errand.surroundings)) is None:
                return False
            self._crew.forget_gone()
            with suppress(Disconnected):  # its end is about to be reported
                member.transport.introduce(parcel.region.segment)
            errand.number, errand.member = next(self._numbers), member
            self._hearing.works[errand.number] = errand.work
            here = parcel.number, parcel.region.segment, parcel.region.offset, parcel.nbytes
            if not member.hatch.ask(errand.number, here, errand.call, errand.item):
                return False
            member.call()
        return True

    def _find_idle(self) -> Member | None:
        """An idle worker, rather one that is awake."""
        idle = [member for member in self._crew if member.is_idle]
        return next((member for member in idle if not member.is_asleep), idle[0] if idle else None)

    def _parcel(self, surroundings: bytes) -> Parcel | None:
        """A parcel of the surroundings; None where these are too large to be kept, or others may still be read."""
        if self._here is None or self._here[0] != surroundings:
            if len(surroundings) > SMALL or any(member.hatch.errand for member in self._crew):
                return None
            parcel = self._stock.share(surroundings)
            if self._here is not None:
                self._stock.let_go(self._here[1])
            self._here = surroundings, parcel
        return self._here[1]

    def _is_over(self, errand: Errand) -> bool:
        return errand.hatch.is_answered or errand.worker.end is not None or self._is_closed

    def _end(self, errand: Errand) -> Ended:
        """Take the result; where there is none, a worker that still runs it after a moment of grace is killed."""
        try:
            if not self._is_over(errand):
                self._turn.lead(lambda: self._is_over(errand), monotonic() + GRACE)
        finally:
            with self._turn.hold():
                errand.ended = ended = self._take(errand)
        return ended

    def _take(self, errand: Errand) -> Ended:
        member, hatch = errand.worker, errand.hatch
        if member.end is None:
            self._intake.catch_up(member)
        answer = hatch.answer() if hatch.is_answered else None
        hatch.errand = 0
        for job in self._jobs.values():  # others that have begun meanwhile
            job.call_up(member)
        if answer is None or (self._is_closed and answer.block is not None):
            return self._lose(errand)
        if answer.block is None:
            return Lost() if answer.is_nothing else Returned(answer.result)
        record = Record(Told.OUTCOMES, errand.number, 0, 0, 1, *answer.block[:3], is_alone=answer.block.is_alone)
        try:
            return Arrived(member.transport.lens, member.transport.memory(record.segment), record)
        except OSError:  # no descriptor or address space for its memory, which nobody will ever read now
            self._crew.kill(member.slot)
            raise

    def _lose(self, errand: Errand) -> Lost:
        member = errand.worker
        if self._is_closed:
            raise WorkerDiedError("the worker pool was shut down while the call ran")
        if member.end is None:
            self._crew.kill(member.slot)
            return Lost()
        running, death = member.end
        return Lost(death if running == Running(errand.number, 0) and not member.is_dismissed else None)
