"""Items in the worker processes of this machine: where a job begins.

The life of one item, from here: its owner (owner.py) takes it from the input, encodes it with its
neighbours (`_engine/blocks`) and offers it to the pool (`_engine/pool`); a worker runs it
(`_engine/worker`); it comes back as part of a block of outcomes, which the owner decodes. One pool of
warm workers serves all jobs of the process.
"""

from __future__ import annotations

from collections.abc import Generator

from .._engine import payload
from .._engine.board import MAX_WORKERS
from .._engine.hearing import Work
from .._engine.home import shared_pool
from .._engine.ranges import Limits
from .._engine.role import is_worker
from .._engine.sizing import usable_cpus
from .._engine.source import Source
from .._engine.standpoint import surroundings
from ..errors import OptionError
from ..options import BatchOptions
from ..outcome import Outcomes
from .base import Job, Run
from .inside import Inside, hands, start_inside, takes_part
from .owner import Owner
from .runner import Runner, runs_item
from .serial import Serial
from .single import SingleRun, is_single


class ProcessPool:
    """Runs a job's items in worker processes, and in this one if that may take part; within an item, serially."""

    def start(self, job: Job, options: BatchOptions) -> Run:
        """Begin a job.

        Raises:
            PayloadError: The callable cannot be pickled.
            OptionError: `max_workers` is more than a pool can have.
            BackendUnavailableError: The platform lacks what the engine needs.
            OSError: No process, memory or descriptor can be had.
        """
        if is_worker() or runs_item():
            return Serial().start(job, options)
        if (options.max_workers or 0) > MAX_WORKERS:
            raise OptionError(f"max_workers={options.max_workers}: a pool has {MAX_WORKERS} workers at the most")
        if takes_part(job, options):
            return start_inside(job, options, ProcessRun)
        if is_single(job, options):
            return SingleRun(job, options, ProcessRun)
        return ProcessRun(job, options)


class ProcessRun:
    """A job under way in worker processes, driven by the thread that iterates over it."""

    def __init__(
        self,
        job: Job,
        options: BatchOptions,
        runner: Runner | None = None,
        pickled: payload.Pickled | None = None,
        crashes: int = 0,
    ) -> None:
        """Get ready.

        Args:
            job: The job.
            options: Its options.
            runner: With one this process takes part, and is one of the workers that `max_workers` counts.
            pickled: What is called, if it has been pickled.
            crashes: Workers that the first item has ended before.

        Raises:
            PayloadError: What is called cannot be pickled.
        """
        self.workers = options.max_workers or usable_cpus()
        self._runner = runner
        self._job = job
        self._options = options
        self._source = Source(job.items)
        self._limits = Limits(
            max_workers=hands(options, self._source.length) - 1 if runner else self.workers,
            chunksize=options.chunksize,
            crash_retries=options.crash_retries,
            length=self._source.length,
            is_windowed=job.is_streamed,
            is_whole=job.call.chunk is not None,
            is_joined=runner is not None,
            crashes=crashes,
            tasks=options.max_tasks_per_child,
            nbytes=int(options.memory_limit) if options.memory_limit else None,
        )
        self._pickled = pickled or payload.dump_callable(job.call, job.label)
        self._owner: Owner | None = None
        self._is_cancelled = False

    def cancel(self) -> None:
        """Stop the job from any thread."""
        self._is_cancelled = True
        if self._runner is not None:
            self._runner.cancel()
        if self._owner is not None:
            self._owner.cancel()

    def __iter__(self) -> Generator[Outcomes, None, None]:
        pool = shared_pool()
        here, work = surroundings(self.workers), Work(self._job.label, self._job.index_of)
        job = pool.open(self._limits, here, self._pickled, self._options.timeout, work)
        try:
            inside = Inside(pool.join(job), self._source, self._runner) if self._runner else None
            self._owner = Owner(pool, job, self._source, self._job, inside)
            if self._is_cancelled:
                return
            yield from self._owner.outcomes(self._options.ordered)
        finally:
            pool.close_job(job)
