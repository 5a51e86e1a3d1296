"""What workers tell, taken in: records from the board, messages from the sockets."""

from __future__ import annotations

from collections.abc import Mapping

from . import native
from .board import REST, SAID
from .crew import Crew
from .delays import Delays
from .dispatch import Dispatch
from .hearing import Hearing
from .job import Arrived, Broken, PoolJob, free
from .member import Member
from .packets import Disconnected
from .ranges import Span, Tried
from .records import Record, Told
from .retired import Retired
from .transport import Drained, LoadFailed, Said

_MOST_MESSAGES = 256  # that are read at once, of 32 KB at the most: they wait in memory until they are heeded


class Intake:
    """Passes on what workers tell; everything is to be called under the pool's lock."""

    def __init__(
        self, crew: Crew, dispatch: Dispatch, jobs: Mapping[int, PoolJob], retired: Retired, delays: Delays
    ) -> None:
        self._crew = crew
        self._dispatch = dispatch
        self._jobs = jobs
        self._retired = retired
        self._delays = delays
        self.hearing = Hearing()  # where it passes on what items say

    def knows(self, job: PoolJob) -> bool:
        """Whether a job is under way: the pool may have been shut down meanwhile."""
        return job.number in self._jobs

    def read(self, member: Member) -> None:
        """Take in everything that a worker that has ended has told."""
        while self.listen(member):
            pass
        self.pull(member)

    def settle(self) -> None:
        """After deaths: finish the blocks whose items have gone elsewhere, and wake whoever may claim the others."""
        for job in self._jobs.values():
            for number in list(job.blocks):
                self.finish(job, number)
            job.ring(len(job.members))

    def listen(self, member: Member) -> bool:
        """Take in some of a worker's messages; whether there may be more: what items say has no end, perhaps."""
        try:
            for _ in range(_MOST_MESSAGES):
                if (message := member.transport.receive(block=False)) is None:
                    return False
                if isinstance(message, Said):
                    self.hearing.take(member, message)
                elif isinstance(message, Drained):
                    member.pay()
                elif isinstance(message, LoadFailed) and message.job in self._jobs:
                    self._jobs[message.job].inbox.append(message)
            return True
        except Disconnected:
            self._crew.hang_up(member)
        except OSError as error:  # no descriptor or address space for its memory
            self._abandon(member, error)
        return False

    def catch_up(self, member: Member) -> None:
        """Take in what items have said before what their worker has told: who hears of an outcome has heard them."""
        said = member.words.words[SAID]  # now: it may go on to rise for ever
        while member.heard < said and self.listen(member):
            pass

    def _abandon(self, member: Member, error: OSError) -> None:
        """Fail the jobs of a worker whose outcomes cannot be read."""
        for job in self._jobs.values():
            if member.slot in job.members:
                job.inbox.append(Broken(error))
        self._crew.kill(member.slot)

    def pull(self, member: Member) -> None:
        """Take in a worker's records."""
        records = member.words.pull()
        if records:
            self.catch_up(member)
        try:
            for record in records:
                self._take(member, record)
        except OSError as error:
            self._abandon(member, error)
        if records:
            for job in self._jobs.values():
                job.call_up(member)
            native.fence()
            if member.words.words[REST] < 0:  # it rests because there was no room for its records
                member.ring()

    def _take(self, member: Member, record: Record) -> None:
        if record.dropped:
            self._retired.let_go(record.dropped, member.slot)
        job = self._jobs.get(record.job)
        memory = member.transport.memory(record.segment) if record.nbytes else None
        if job is None:
            self._retired.take(record, member.slot)
            if memory is not None:
                member.transport.lens.release(record.region)
            return
        span = Span(record.start, record.stop)
        if record.is_held:
            job.blocks[record.block].holders.add(member.slot)
        if record.kind == Told.LET_GO:
            job.blocks[record.block].holders.discard(member.slot)
        elif record.kind in (Told.NOT_RUN, Told.UNREADABLE):
            job.is_readable &= record.kind != Told.UNREADABLE
            self._dispatch.hand_back(record.block, span)
            job.ring(len(job.members))
        elif record.kind == Told.LATER:
            job.futile_deaths = 0
            self._dispatch.postpone(record.block, record.start, Tried(record.attempts, record.nanoseconds // 1_000_000))
            job.ledger.repeat()
            self._delays.add(job.number, record.start, record.pause / 1e9)
        elif record.nbytes:
            job.futile_deaths = 0
            self._dispatch.arrive(record.block, span, record.nanoseconds / 1e9)
            self._dispatch.needed(job.number, record.peak)
            job.inbox.append(Arrived(member.transport.lens, memory, record))
        self.finish(job, record.block)

    def finish(self, job: PoolJob, number: int) -> None:
        """Give a block's memory back when all its items are settled and nothing refers to them."""
        if self._dispatch.is_open(number) or number not in job.blocks:
            return
        job.ledger.forget(number)
        if not job.blocks[number].holders:
            free(self._crew.arena, job.blocks.pop(number).region, list(self._crew), is_unread=True)
