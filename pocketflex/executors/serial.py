"""Items in order, one at a time, in this process and thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from .._engine.ranges import Span
from .._engine.source import Source
from ..errors import ItemTimeoutError
from ..options import BatchOptions
from ..outcome import Failure, Outcome, Outcomes
from ..retry import Call
from .base import Job

_CHUNK = 1024  # items given to exec_chunk at a time when `chunksize` does not say


class Serial:
    """Runs a job's items in the thread that iterates over the run."""

    def start(self, job: Job, options: BatchOptions) -> SerialRun:
        """Begin a job; items are run as the run is iterated over."""
        return SerialRun(job, options)


class SerialRun:
    """A job under way in the thread that iterates over it."""

    workers = 1

    def __init__(self, job: Job, options: BatchOptions) -> None:
        self._job = job
        self._options = options
        self._cancelled = False

    def cancel(self) -> None:
        """Stop before the next item; the one under way cannot be interrupted."""
        self._cancelled = True

    def __iter__(self) -> Iterator[Outcomes]:
        return self._chunks() if self._job.call.chunk else self._items()

    def _items(self) -> Iterator[Outcomes]:
        call, timeout = self._job.call, self._options.timeout
        for index, item in enumerate(self._job.items):
            if self._cancelled:
                return
            yield Outcomes.gather(index, (run_item(call, index, item, timeout),))

    def _chunks(self) -> Iterator[Outcomes]:
        source = Source(self._job.items)
        for start, chunk in chunks(source, self._options.chunksize or _CHUNK):
            if self._cancelled:
                return
            yield run_chunk(self._job.call, start, chunk, self._options.timeout)
        if source.error is not None:
            raise source.error


def chunks(source: Source, size: int) -> Iterator[tuple[int, Any]]:
    """The input in chunks of `size`, a list or rows of an ndarray each, with the index of the first item."""
    start = 0
    while not source.is_exhausted:
        chunk = source.take(Span(start, start + size))
        if len(chunk):
            yield start, chunk
            source.drop(start, len(chunk))
            start += len(chunk)


def run_item(call: Call, index: int, item: Any, timeout: float | None) -> Outcome:
    """Run an item in this process.

    It cannot be stopped here, so `timeout` is checked once it has ended; the outcome is the same.
    """
    return _check_time(lambda: call.run(index, item), index, timeout)


def run_chunk(call: Call, start: int, chunk: Any, timeout: float | None) -> Outcomes:
    """Run a chunk in this process; if it took too long, its items one by one, to see which did."""
    begun = monotonic()
    outcomes = call.run_chunk(start, chunk)
    if timeout is None or monotonic() - begun <= timeout * len(chunk):
        return outcomes
    return Outcomes.gather(start, [_run_one(call, start + at, chunk[at : at + 1], timeout) for at in range(len(chunk))])


def _run_one(call: Call, index: int, one: Any, timeout: float) -> Outcome:
    return _check_time(lambda: call.run_one(index, one), index, timeout)


def _check_time(run: Callable[[], Outcome], index: int, timeout: float | None) -> Outcome:
    begun = monotonic()
    outcome = run()
    seconds = monotonic() - begun
    if timeout is None or seconds <= timeout:
        return outcome
    error = ItemTimeoutError(f"item {index} took {seconds:.3g} s, longer than timeout={timeout:g}")
    return Failure(index, error, kind="timeout")
