"""The pool: joins dispatch, which decides, and the crew, which runs.

    owner thread of a job                    pool (under its lock)              worker
    plan, encode, offer  ────────────────▶   publish in the ledger, ring  ──▶   claim, run
    wait                                     one wait on everything
    inbox: Arrived, Blamed ◀──────────────   read the boards  ◀── records ───
    decode, deliver

There is no helper thread: the thread that waits for its job serves everybody's (turn.py). The user's code
(iterating input, pickling, unpickling) runs only in the thread that owns the job, and never under the lock,
so it may use the pool itself. Nothing is polled at intervals: the wait ends when a worker rings or ends, when
another thread nudges, or when the earliest time has come: of an item, of its next attempt, of a job that has ended.
"""

from __future__ import annotations

import os
from itertools import count
from time import monotonic

from ..errors import WorkerDiedError
from . import native
from .crew import Crew
from .deadlines import Deadlines
from .delays import Delays
from .dispatch import Dispatch
from .errands import Errands
from .exclusive import look_for_handlers
from .hearing import Work
from .intake import Intake
from .job import Lent, PoolJob
from .launch import Process
from .ledger import Entry
from .part import Part
from .payload import Pickled
from .poller import Poller
from .ranges import Limits, Plan, Span
from .retired import GRACE, Retired
from .shm import Arena
from .staff import Staff
from .stock import Stock
from .transport import Terms
from .turn import Turn
from .writing import Block


class Pool:
    """Worker processes shared by all jobs; `errands` are calls without a job, `hearing` is what items have said."""

    def __init__(self, environ: dict[str, str], process: Process | None) -> None:
        """Take over the spawner's process, if it has been started; workers are started as jobs need them.

        Raises:
            OSError: No process, memory or descriptor can be had.
        """
        self._poller = Poller()
        self._crew = Crew(environ, self._poller, process)
        self._dispatch = Dispatch()
        self._jobs: dict[int, PoolJob] = {}
        self._deadlines = Deadlines(self._crew, self._jobs)
        self._stock = Stock(self._crew.arena, self._crew.lock)
        self._retired = Retired(self._crew, self._stock)
        self._delays = Delays(self._dispatch, self._jobs)
        self._intake = Intake(self._crew, self._dispatch, self._jobs, self._retired, self._delays)
        self.hearing = self._intake.hearing
        self._staff = Staff(self._crew, self._dispatch, self._jobs, self._retired, self._intake)
        self._turn = Turn(self._patience, self._crew.poll, self._serve, self._staff.start_afresh, self.hearing.heed)
        self._numbers = count(1)
        self.errands = Errands(self._crew, self._turn, self._stock, self._jobs, self._numbers, self._intake)
        self._pid = os.getpid()
        self._is_closed = False

    @property
    def arena(self) -> Arena:
        """The memory in which all workers find their items."""
        return self._crew.arena

    # --- what the owner of a job calls --------------------------------------------------------

    def open(self, limits: Limits, surroundings: bytes, pickled: Pickled, timeout: float | None, work: Work) -> PoolJob:
        """Begin a job.

        Args:
            limits: What the job allows.
            surroundings: Where its caller stands, from `standpoint.surroundings`.
            pickled: Its callable, from `payload.dump_callable`.
            timeout: Seconds that an item may take, None for any time.
            work: What it is called.

        Raises:
            OSError: There is not enough memory, or no worker can be started.
            RuntimeError: This thread waits for another job, below a signal handler that calls this.
        """
        look_for_handlers()
        self._turn.refuse_nested()
        parcel = self._stock.store(*pickled) if pickled[1] else None  # to copy large buffers takes long
        job: PoolJob | None = None
        try:
            with self._turn.hold():
                call = parcel or self._stock.share(pickled[0])
                here, is_fixed = self._stock.share(surroundings), limits.chunksize is not None
                terms = Terms(here, call, timeout, is_fixed, limits.endurance())
                load, ledger = self._stock.begin(next(self._numbers), terms, limits)
                job = PoolJob(load.job, limits, terms, ledger, load)
                self.hearing.works[job.number] = work
                self._begin(job)
        except BaseException:  # Ctrl-C too, which was held back until here
            if job is not None:
                with self._turn.hold():
                    self._retire(job)
            raise
        return job

    def _begin(self, job: PoolJob) -> None:
        if self._is_closed:
            raise WorkerDiedError("the worker pool was shut down while the call began")
        self._crew.forget_gone()
        self._jobs[job.number] = job
        self._dispatch.open(job.number, job.limits)
        self._staff.hire()

    def plan(self, job: PoolJob, delivered: int, is_wanted: bool = True) -> Plan | None:
        """The span to encode next, now that so many outcomes have been passed on; None: none, or none is wanted."""
        if not delivered and not (is_wanted and self._dispatch.is_hungry(job.number, job.ledger.unclaimed)):
            return None  # the lock is not worth it: whoever then waits asks again, and holds it
        with self._turn.hold():
            if job.number not in self._jobs:
                return None
            self._dispatch.deliver(job.number, delivered)
            return self._dispatch.plan(job.number, job.ledger.unclaimed) if is_wanted else None

    def offer(self, job: PoolJob, planned: Span, grain: int, block: Block) -> None:
        """Hand in a block of the first items of a planned span."""
        with self._turn.hold():
            if job.number not in self._jobs:  # the pool has been shut down
                return
            number = self._dispatch.offer(job.number, planned, block.length)
            lent = job.blocks[number] = Lent(block.region, block.refers_to, block.keeps)
            job.show(lent)
            tried = self._dispatch.tried(job.number, planned).pack()
            job.ledger.publish(Entry(number, planned.start, block.length, grain, block.region, tried))
            job.call_up()
            native.fence()
            job.ring(-(-block.length // grain))
            if job.is_awake():
                self._crew.expect()
        if job.terms.timeout is not None:
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
                job.ledger.seal(length)

    def join(self, job: PoolJob) -> Part:
        """What the owner of a job needs to run items of it itself."""
        return Part(self._turn, self._dispatch, self._intake, job)

    def wait(self, job: PoolJob) -> None:
        """Block until the job's inbox has something, it is cancelled, or a span can be planned or claimed here.

        Raises:
            RuntimeError: This thread waits for another job, below a signal handler that calls this.
        """
        self._turn.refuse_nested()
        self._turn.lead(lambda: job.is_due(self._dispatch))

    def glance(self) -> None:
        """Take in what has arrived for anybody, without waiting."""
        if self._crew.has_news():
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
            if self._is_closed or self._turn.is_mine or not self._retired.is_running(job.number):
                return
        try:
            self._turn.lead(lambda: not self._retired.is_running(job.number), monotonic() + GRACE)
        finally:
            with self._turn.hold():
                self._retired.dismiss(job.number)
            self.hearing.heed()

    def close(self) -> None:
        """End all workers and give all memory back; jobs under way fail."""
        with self._turn.hold():
            self._is_closed = True
            self.errands.close()
            self._staff.give_up(WorkerDiedError("the worker pool was shut down while the job ran"))
            for job in list(self._jobs.values()):
                self._retire(job)
            self._stock.close()
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
                self._intake.settle()
            elif member := self._crew.find(fd):
                self._intake.listen(member)
        for member in self._crew:
            self._intake.pull(member)
            member.hatch.notice()
        self._deadlines.enforce()
        self._retired.enforce()
        self._delays.enforce()

    def _patience(self) -> float:
        return min(self._deadlines.patience(), self._retired.patience(), self._delays.patience())

    def _retire(self, job: PoolJob) -> None:
        if self._jobs.pop(job.number, None) is None:
            return
        self._dispatch.close(job.number)
        self.hearing.works.pop(job.number, None)
        if not self._is_closed:  # else its memory goes anyway
            job.discard_news()
        self._retired.add(job)
        self._poller.nudge()  # whoever leads must reckon with the end of its grace
