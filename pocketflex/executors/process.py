"""Items in the worker processes of this machine: the owner's side of the engine.

The life of one item, from here: it is taken from the input and encoded with its neighbours
(`_engine/blocks`), offered to the pool (`_engine/pool`), run by a worker (`_engine/worker`), and comes
back as part of a block of outcomes, which is decoded here. One pool of warm workers serves all jobs
of the process.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from .._engine import failures, fetching, payload
from .._engine.blocks import Block, EncodingFailed, encode_items
from .._engine.board import MAX_WORKERS
from .._engine.crew import name_exit
from .._engine.home import shared_pool, surroundings
from .._engine.job import Arrived, Blamed, News, PoolJob
from .._engine.pool import Pool
from .._engine.ranges import Limits, Span
from .._engine.results import ResultReader
from .._engine.sizing import usable_cpus
from .._engine.source import Source, Taken
from .._engine.transport import LoadFailed
from .._engine.worker import is_worker
from ..errors import ItemTimeoutError, OptionError, PayloadError, WorkerDiedError
from ..options import BatchOptions
from ..outcome import Failure, Outcomes, describe
from .base import Job, Run
from .serial import Serial

_BLOCK = 2 << 20  # bytes of items in a block: a few fit an L3 cache, and one costs 0.2 ms to copy


class ProcessPool:
    """Runs a job's items in worker processes; in a worker itself, serially."""

    def start(self, job: Job, options: BatchOptions) -> Run:
        """Begin a job.

        Raises:
            PayloadError: The callable cannot be pickled.
            OptionError: `max_workers` is more than a pool can have.
            BackendUnavailableError: The platform lacks what the engine needs.
            OSError: No process, memory or descriptor can be had.
        """
        if is_worker():
            return Serial().start(job, options)
        if (options.max_workers or 0) > MAX_WORKERS:
            raise OptionError(f"max_workers={options.max_workers}: a pool has {MAX_WORKERS} workers at the most")
        return ProcessRun(job, options)


class ProcessRun:
    """A job under way in worker processes, driven by the thread that iterates over it."""

    def __init__(self, job: Job, options: BatchOptions) -> None:
        self.workers = options.max_workers or usable_cpus()
        self._job = job
        self._options = options
        self._source = Source(job.items)
        self._limits = Limits(
            max_workers=self.workers,
            chunksize=options.chunksize,
            crash_retries=options.crash_retries,
            length=self._source.length,
            is_windowed=job.is_streamed,
            is_whole=job.call.chunk is not None,
        )
        self._pickled = payload.dump_callable(job.call, job.label)
        self._owner: Owner | None = None
        self._is_cancelled = False

    def cancel(self) -> None:
        """Stop the job from any thread."""
        self._is_cancelled = True
        if self._owner is not None:
            self._owner.cancel()

    def __iter__(self) -> Generator[Outcomes, None, None]:
        pool = shared_pool()
        job = pool.open(self._limits, surroundings(self.workers), self._pickled, self._options.timeout)
        try:
            self._owner = Owner(pool, job, self._source, self._job)
            if self._is_cancelled:
                return
            yield from self._owner.outcomes(self._options.ordered)
        finally:
            pool.close_job(job)


class Owner:
    """What the owning thread does: feed items, collect outcomes, put them in order."""

    def __init__(self, pool: Pool, job: PoolJob, source: Source, given: Job) -> None:
        self._given = given
        self._pool = pool
        self._job = job
        self._source = source
        self._length: int | None = None  # known once the input has ended
        self._delivered = 0  # outcomes since the pool was last told
        self._collected: dict[int, Outcomes] = {}  # by index of the first item

    def cancel(self) -> None:
        """End `outcomes` from another thread."""
        self._pool.cancel(self._job)

    def outcomes(self, ordered: bool) -> Iterator[Outcomes]:
        """Drive the job and yield its outcomes.

        Raises:
            PayloadError: The callable cannot be loaded by a worker.
            WorkerDiedError: No worker stays alive.
            Exception: What iterating over the input raised, after the outcomes of the items before.
        """
        done = 0
        while done != self._length and not self._job.is_cancelled:
            is_moving = self._feed()
            if not self._job.inbox:
                self._pool.glance()
            if self._job.inbox:  # one at a time: workers must not run dry meanwhile
                self._collect(self._job.inbox.popleft())
                is_moving = True
            while run := self._next(done, ordered):
                yield run
                done += len(run.results)
                self._delivered += len(run.results)
                is_moving = True
            if not is_moving:
                self._pool.wait(self._job)
        if self._source.error is not None:
            raise self._source.error

    def _feed(self) -> bool:
        delivered, self._delivered = self._delivered, 0
        plan = self._pool.plan(self._job, delivered)
        if plan is None:
            return False
        span = plan.span
        taken = self._source.take(span)
        stop = span.start + taken.stop - taken.start
        if stop < span.stop and self._source.is_exhausted:
            self._length = stop
            self._pool.seal(self._job, stop)
        elif stop < span.stop:
            self._pool.again(self._job, Span(stop, span.stop))
        if stop > span.start:
            self._offer(Span(span.start, stop), taken, plan.grain)
        return True

    def _offer(self, span: Span, taken: Taken, grain: int) -> None:
        try:
            block: Block | None = self._refer(taken, grain) or encode_items(self._pool.arena, taken, grain, _BLOCK)
        except EncodingFailed as failed:
            block = failed.before
            guilty = span.start + (block.length if block else 0)
            error = PayloadError(f"item {guilty} cannot be sent to a worker: {describe(failed.cause)}")
            error.__cause__ = failed.cause
            self._keep_failure(Failure(guilty, error, kind="unpicklable"))
            self._pool.again(self._job, Span(guilty + 1, span.stop))
            span = Span(span.start, guilty)
        if block is not None:
            self._pool.offer(self._job, span, grain, block)

    def _refer(self, taken: Taken, grain: int) -> Block | None:
        """A block of items that workers fetch for themselves, where nobody changes them meanwhile."""
        is_fit = self._source.is_lasting and not self._given.is_streamed and self._job.may_fetch
        return fetching.refer(self._pool.arena, taken, grain) if is_fit else None

    def _next(self, done: int, ordered: bool) -> Outcomes | None:
        if ordered or not self._collected:
            return self._collected.pop(done, None)
        return self._collected.pop(next(iter(self._collected)))

    def _collect(self, news: News) -> None:
        if isinstance(news, Arrived):
            self._keep(self._read(news))
        elif isinstance(news, Blamed):
            self._keep_failure(self._explain(news))
        elif isinstance(news, LoadFailed):
            raise self._cannot_load(news)
        else:
            raise news.error

    def _read(self, news: Arrived) -> Outcomes:
        record = news.record
        reader = ResultReader(record.region, news.memory, news.release)
        start, stop, target = record.start, record.stop, self._given.target
        if self._given.is_array and (rows := reader.array()) is not None:
            return Outcomes(start, rows)
        if target is not None:
            failed = self._fail(target, 0, reader.read(target, start))
            return Outcomes(start, range(start, stop), failed)
        results = [None] * (stop - start)
        failed = self._fail(results, start, reader.read(results, 0))
        return Outcomes(start, results, failed)

    @staticmethod
    def _fail(results: list[Any], start: int, failed: dict[int, Any]) -> tuple[Failure, ...]:
        """Put failures in their places of a list of results, of items from `start` on."""
        failures = {position: _failure(start + position, found) for position, found in failed.items()}
        for position, failure in failures.items():
            results[position] = failure
        return tuple(failures.values())

    def _explain(self, news: Blamed) -> Failure:
        if news.is_timeout:
            limit = f"timeout={self._job.terms.timeout:g} s"
            late = ItemTimeoutError(f"item {news.index} took longer than {limit} and was stopped")
            return Failure(news.index, late, news.attempts, "timeout")
        died = WorkerDiedError(f"item {news.index} ended its worker process: {name_exit(news.code)}")
        return Failure(news.index, died, news.attempts, "crashed")

    def _cannot_load(self, news: LoadFailed) -> PayloadError:
        cause = failures.load_error(news.error)
        error = PayloadError(f"{self._given.label}: its function cannot be loaded in a worker: {describe(cause)}")
        error.__cause__ = cause
        return error

    def _keep_failure(self, failure: Failure) -> None:
        self._keep(Outcomes(failure.index, [failure], (failure,)))

    def _keep(self, outcomes: Outcomes) -> None:
        self._source.drop(outcomes.start, len(outcomes.results))
        self._collected[outcomes.start] = outcomes


def _failure(index: int, record: Any) -> Failure:
    """The failure behind a FailureRecord, or behind the exception of loading a result."""
    if isinstance(record, failures.FailureRecord):
        return Failure(index, failures.load_error(record.error), record.attempts, record.kind)
    error = PayloadError(f"the result of item {index} cannot be unpickled in this process: {describe(record)}")
    error.__cause__ = record
    return Failure(index, error, kind="unpicklable")
