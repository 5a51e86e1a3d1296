"""The owner of a job: its thread feeds items, collects outcomes and puts them in order."""

from __future__ import annotations

from collections.abc import Iterator
from time import thread_time
from typing import Any

from .._engine import failures, fetching
from .._engine.blocks import EncodingFailed, encode_items
from .._engine.job import Arrived, Blamed, News, PoolJob
from .._engine.orders import Death
from .._engine.pool import Pool
from .._engine.postmortem import explain, name_exit
from .._engine.ranges import Span
from .._engine.results import ResultReader
from .._engine.source import Source, Taken
from .._engine.transport import LoadFailed
from .._engine.writing import Block
from ..errors import InitializerError, ItemTimeoutError, PayloadError, WorkerDiedError
from ..outcome import Failure, Outcomes, describe, trace
from .base import Job
from .inside import Inside
from .runner import Cost

_BLOCK = 2 << 20  # bytes of items in a block: a few fit an L3 cache, and one costs 0.2 ms to copy


class Owner:
    """What the owning thread does: feed items, collect outcomes, put them in order."""

    def __init__(self, pool: Pool, job: PoolJob, source: Source, given: Job, inside: Inside | None = None) -> None:
        self._inside = inside
        self._there, self._back = Cost(), Cost()  # of encoding, of reading: work of this thread alone
        self._given = given
        self._pool = pool
        self._job = job
        self._source = source
        self._length = source.length  # where it is not known before, known once the input has ended
        self._delivered = 0  # outcomes since the pool was last told
        self._collected = {} if given.waiting is None else given.waiting  # by index of the first item

    def cancel(self) -> None:
        """End `outcomes` from another thread."""
        self._pool.cancel(self._job)

    def outcomes(self, ordered: bool) -> Iterator[Outcomes]:
        """Drive the job and yield its outcomes.

        Raises:
            PayloadError: The callable cannot be loaded by a worker.
            InitializerError: The job's initializer has raised an exception.
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
            if not is_moving and not (self._inside and self._inside.work(self._fetch, self._keep)):
                self._pool.wait(self._job)
        if self._source.error is not None:
            raise self._source.error

    def _feed(self) -> bool:
        delivered, self._delivered = self._delivered, 0
        is_wanted = self._inside is None or self._inside.is_dearer(self._there, self._back)
        plan = self._pool.plan(self._job, delivered, is_wanted)
        if plan is None:
            return False
        span, taken = self._fetch(plan.span)
        if span.start < span.stop:
            self._offer(span, taken, plan.grain)
        return True

    def _fetch(self, span: Span) -> tuple[Span, Taken]:
        """Read a planned span of the input: which part of it there is, and its items."""
        taken = self._source.take(span)
        stop = span.start + taken.stop - taken.start
        if stop < span.stop and self._source.is_exhausted:
            self._length = stop
            self._pool.seal(self._job, stop)
        elif stop < span.stop:
            self._pool.again(self._job, Span(stop, span.stop))
        return Span(span.start, stop), taken

    def _offer(self, span: Span, taken: Taken, grain: int) -> None:
        block: Block | None
        begun = thread_time()
        try:
            block = self._refer(taken, grain) or self._encode(taken, grain)
            self._there.add(thread_time() - begun, block.length)
        except EncodingFailed as failed:
            block = failed.before
            guilty = span.start + (block.length if block else 0)
            self._keep_failure(unsendable(guilty, failed.cause))
            self._pool.again(self._job, Span(guilty + 1, span.stop))
            span = Span(span.start, guilty)
        if block is not None:
            self._pool.offer(self._job, span, grain, block)

    def _refer(self, taken: Taken, grain: int) -> Block | None:
        """A block of items that workers fetch for themselves, where nobody changes them meanwhile."""
        is_waiting = not self._given.is_streamed and self._inside is None  # no code of the user's runs in this thread
        is_fit = is_waiting and self._source.is_lasting and self._job.is_readable
        return fetching.refer(self._pool.arena, taken, grain) if is_fit else None

    def _encode(self, taken: Taken, grain: int) -> Block:
        return encode_items(self._pool.arena, taken, grain, _BLOCK, is_apart=not self._job.is_readable)

    def _next(self, done: int, ordered: bool) -> Outcomes | None:
        if ordered or not self._collected:
            return self._collected.pop(done, None)
        return self._collected.pop(next(iter(self._collected)))

    def _collect(self, news: News) -> None:
        self._pool.hearing.heed()  # first: what items have said comes before their outcomes
        if isinstance(news, Arrived):
            begun, outcomes = thread_time(), self._read(news)
            self._back.add(thread_time() - begun, len(outcomes.results))
            self._keep(outcomes)
        elif isinstance(news, Blamed):
            self._keep_failure(self._explain(news))
        elif isinstance(news, LoadFailed):
            self._refuse(news)
        else:
            raise news.error

    def _read(self, news: Arrived) -> Outcomes:
        record = news.record
        start, stop, target = record.start, record.stop, self._given.target
        reader = ResultReader(record.region, news.memory, stop - start, news.release)
        if self._given.is_array and (rows := reader.array()) is not None:
            return Outcomes(start, rows)
        if target is not None:
            failed = place_failures(target, 0, reader.read(target, start))
            return Outcomes(start, range(start, stop), failed)
        return read_list(reader, start, stop)

    def _explain(self, news: Blamed) -> Failure:
        if news.is_timeout:
            limit = f"timeout={self._job.terms.timeout:g} s"
            late = ItemTimeoutError(f"item {news.index} took longer than {limit} and was stopped")
            explain(late, news.death)
            return Failure(news.index, late, news.attempts, "timeout")
        return crash(news.index, news.attempts, news.death)

    def _refuse(self, news: LoadFailed) -> None:
        """No worker can run items; this process can, perhaps."""
        cause, label = failures.load_error(news.error), self._given.label
        if news.is_initializer:
            raise InitializerError(f"{label}: its initializer failed in a worker: {describe(cause)}") from cause
        error = PayloadError(f"{label}: its function cannot be loaded in a worker: {describe(cause)}")
        error.__cause__ = cause
        if not self._inside:
            raise error
        self._inside.warn(error)

    def _keep_failure(self, failure: Failure) -> None:
        self._keep(Outcomes(failure.index, [failure], (failure,)))

    def _keep(self, outcomes: Outcomes) -> None:
        if self._inside and outcomes.failures:
            outcomes = self._inside.rescue(outcomes, self._given.target)
        for failure in outcomes.failures:
            if (one := self._source.recall(failure.index)) is not None:
                trace(failure, self._given.call, one)
        self._source.drop(outcomes.start, len(outcomes.results))
        self._collected[outcomes.start] = outcomes
        if self._given.told is not None:
            self._given.told(outcomes)


def unsendable(index: int, cause: BaseException) -> Failure:
    """The failure of an item that cannot be pickled."""
    error = PayloadError(f"item {index} cannot be sent to a worker: {describe(cause)}")
    error.__cause__ = cause
    return Failure(index, error, kind="unpicklable")


def crash(index: int, attempts: int, death: Death) -> Failure:
    """The failure of an item that has ended a worker, so often, the last time in this way."""
    died = WorkerDiedError(f"item {index} ended its worker process: {name_exit(death)}")
    explain(died, death)
    return Failure(index, died, attempts, "crashed")


def read_list(reader: ResultReader, start: int, stop: int) -> Outcomes:
    """The outcomes of the items from `start` to `stop`, in a list of their own."""
    results = [None] * (stop - start)
    return Outcomes(start, results, place_failures(results, start, reader.read(results, 0)))


def place_failures(results: list[Any], start: int, failed: dict[int, Any]) -> tuple[Failure, ...]:
    """Put what `ResultReader.read` says has failed in its places of a list of results, of items from `start` on."""
    failures = {position: _failure(start + position, found) for position, found in failed.items()}
    for position, failure in failures.items():
        results[position] = failure
    return tuple(failures.values())


def _failure(index: int, record: Any) -> Failure:
    """The failure behind a FailureRecord, or behind the exception of loading a result."""
    if isinstance(record, failures.FailureRecord):
        return Failure(index, failures.load_error(record.error), record.attempts, record.kind)
    error = PayloadError(f"the result of item {index} cannot be unpickled in this process: {describe(record)}")
    error.__cause__ = record
    return Failure(index, error, kind="unpicklable")
