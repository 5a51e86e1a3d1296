"""The pool: joins dispatch, which decides, and the crew, which runs.

    owner thread of a job                    pool (under its lock)              worker
    plan, encode, offer  ────────────────▶   dispatch.assign  ── RunRange ▶    items
    wait                                     one wait on everything
    inbox: Results, Blame  ◀──────────────   on readable      ◀─ Results ───
    decode, deliver

There is no helper thread: the thread that waits for its job serves everybody's (turn.py). The
user's code (iterating input, pickling, unpickling) runs only in the thread that owns the job, and
never under the lock, so it may use the pool itself.

Nothing is polled at intervals: the wait ends when a worker writes or ends, when another thread
nudges, or when the earliest item deadline passes.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from itertools import count

from ..errors import WorkerDiedError
from .blocks import Encoded
from .crew import Crew, Member
from .deadlines import Deadlines
from .dispatch import Dispatch
from .job import Arrived, PoolJob
from .pace import BUDGET
from .packets import Disconnected
from .payload import Pickled
from .poller import Poller
from .ranges import Limits, Span
from .retired import GRACE, Retired
from .shm import Arena
from .socket_transport import store_parcel, write_block
from .staff import Staff
from .transport import LoadFailed, Results, RunRange, Surroundings
from .turn import Turn


class Pool:
    """Worker processes shared by all jobs of this process."""

    def __init__(self, environ: dict[str, str]) -> None:
        """Start the spawner; workers are started as jobs need them.

        Raises:
            OSError: No process, memory or descriptor can be had.
        """
        self._poller = Poller()
        self._crew = Crew(environ, self._poller)
        self._dispatch = Dispatch()
        self._jobs: dict[int, PoolJob] = {}
        self._deadlines = Deadlines(self._crew, self._dispatch, self._jobs)
        self._retired = Retired(self._crew, self._dispatch)
        self._staff = Staff(self._crew, self._dispatch, self._jobs, self._read)
        self._turn = Turn(self._patience, self._poller.poll, self._serve, self._mend)
        self._numbers = count(1)
        self._pid = os.getpid()
        self._is_closed = False

    @property
    def arena(self) -> Arena:
        """The memory in which all workers find their items."""
        return self._crew.arena

    # --- what the owner of a job calls --------------------------------------------------------

    def open(self, limits: Limits, surroundings: Surroundings, pickled: Pickled, timeout: float | None) -> PoolJob:
        """Begin a job.

        Args:
            limits: What the job allows.
            surroundings: Where its caller stands.
            pickled: Its callable, from `payload.dump_callable`.
            timeout: Seconds that an item may take, None for any time.

        Raises:
            OSError: There is not enough memory, or no worker can be started.
        """
        parcel = store_parcel(self.arena, surroundings, *pickled)
        with self._turn.hold():
            if self._is_closed:
                raise WorkerDiedError("the worker pool was shut down while the call began")
            job = PoolJob(next(self._numbers), limits, parcel, timeout)
            self._jobs[job.number] = job
            self._dispatch.open(job.number, limits)
            try:
                self._staff.hire()
            except OSError:
                self._retire(job)
                raise
            return job

    def plan(self, job: PoolJob) -> Span | None:
        """The span of items that should be encoded next."""
        with self._turn.hold():
            return self._dispatch.plan(job.number) if job.number in self._jobs else None

    def offer(self, job: PoolJob, planned: Span, encoded: Encoded) -> None:
        """Hand in the encoded beginning of a planned span.

        Raises:
            OSError: There is not enough memory.
        """
        block = write_block(self.arena, encoded)
        budget = None if job.limits.chunksize or job.limits.is_whole else BUDGET
        with self._turn.hold():
            if job.number not in self._jobs:  # the pool has been shut down
                return
            number = self._dispatch.offer(job.number, planned, block.length)
            job.offered[number] = RunRange(job.number, number, planned.start, block, budget)
            self._assign()
        if job.timeout is not None:
            self._poller.nudge()  # whoever leads must reckon with a new deadline

    def again(self, job: PoolJob, span: Span) -> None:
        """Take back a planned span that was not offered."""
        with self._turn.hold():
            if job.number in self._jobs:
                self._dispatch.again(job.number, span)

    def seal(self, job: PoolJob, length: int) -> None:
        """The input of a job has ended."""
        with self._turn.hold():
            if job.number in self._jobs:
                self._dispatch.seal(job.number, length)

    def deliver(self, job: PoolJob, items: int) -> None:
        """So many outcomes have been passed on."""
        with self._turn.hold():
            if job.number in self._jobs:
                self._dispatch.deliver(job.number, items)

    def wait(self, job: PoolJob) -> None:
        """Block until the job's inbox has something, a span can be planned, or it is cancelled."""
        self._turn.lead(lambda: bool(job.inbox) or job.is_cancelled or self._dispatch.is_hungry(job.number))

    def glance(self) -> None:
        """Take in what has arrived for anybody, without waiting."""
        self._turn.glance()

    def cancel(self, job: PoolJob) -> None:
        """Make the job's owner stop waiting. Safe from any thread."""
        job.is_cancelled = True
        self._poller.nudge()

    def close_job(self, job: PoolJob) -> None:
        """End a job; a worker that still runs its items after a moment of grace is killed."""
        if self._pid != os.getpid():
            return
        if self._turn.defer(lambda: self._retire(job)):
            return
        with self._turn.hold():
            self._retire(job)
        try:
            self._turn.lead(lambda: job.number not in self._retired, time.monotonic() + GRACE)
        finally:
            with self._turn.hold():
                self._retired.dismiss(job.number)

    def close(self) -> None:
        """End all workers and give all memory back; jobs under way fail."""
        with self._turn.hold():
            self._is_closed = True
            self._staff.give_up(WorkerDiedError("the worker pool was shut down while the job ran"))
            for job in list(self._jobs.values()):
                self._retire(job)
            for member in self._crew:
                self._dispatch.lose(member.slot, -1, -1, is_final=False)
            self._crew.close()
            self._poller.nudge()

    def disown(self) -> None:
        """In a forked child: let go of what is the parent's."""
        self._crew.disown()

    # --- serving, with the lock held ----------------------------------------------------------

    def _serve(self, ready: list[int]) -> None:
        if self._is_closed:  # while this thread polled: what it found is gone
            return
        for fd in ready:
            if self._crew.is_news(fd):
                self._staff.settle()
            elif member := self._crew.find(fd):
                self._read(member)
        self._deadlines.enforce()
        self._retired.enforce()
        self._assign()

    def _read(self, member: Member) -> None:
        try:
            while (message := member.transport.receive(block=False)) is not None:
                if isinstance(message, Results):
                    self._take(member, message)
                elif isinstance(message, LoadFailed) and message.job in self._jobs:
                    self._jobs[message.job].inbox.append(message)
        except Disconnected:
            self._crew.hang_up(member)

    def _take(self, member: Member, results: Results) -> None:
        job = self._jobs.get(results.job)
        if results.block is not None:
            self._dispatch.progress(results.range, results.stop)
            if job is None:
                member.transport.release(results.block.region)
            else:
                job.futile_deaths = 0
                job.inbox.append(Arrived(member.transport, results))
        if results.is_last:
            self._dispatch.finish(member.slot, results.range, results.seconds)

    def _assign(self) -> None:
        for send in self._dispatch.assign():
            run = self._jobs[send.job].offered.pop(send.range)
            with suppress(Disconnected):  # its end is about to be reported, and the range then goes elsewhere
                self._jobs[send.job].give(self._crew[send.worker], run)

    def _patience(self) -> float:
        return min(self._deadlines.patience(), self._retired.patience())

    # --- ends -----------------------------------------------------------------------------------

    def _retire(self, job: PoolJob) -> None:
        if self._jobs.pop(job.number, None) is None:
            return
        self._dispatch.close(job.number)
        for run in job.offered.values():
            self.arena.free(run.block.region)
        for news in job.inbox:
            if isinstance(news, Arrived) and news.results.block is not None:
                news.transport.release(news.results.block.region)
        for slot in self._dispatch.holders(job.number):
            self._crew.cancel(slot, job.number)
        for member in self._crew:
            job.withdraw(member)
        self._retired.add(job.number, job.parcel)

    def _mend(self) -> None:
        """Start afresh: items may be lost, and nobody must wait for them."""
        self._staff.give_up(
            WorkerDiedError("a signal handler raised while the worker pool was at work in the main thread")
        )
        for member in self._crew:
            self._crew.kill(member.slot)
