"""Items in order, one at a time, in this process and thread."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from .._engine.ranges import Span
from .._engine.source import Source
from ..options import BatchOptions
from ..outcome import Outcomes
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

    def __iter__(self) -> Generator[Outcomes, None, None]:
        return self._chunks() if self._job.call.chunk else self._items()

    def _items(self) -> Generator[Outcomes, None, None]:
        call, timeout = self._job.call, self._options.timeout
        first, items = call.initializer, self._job.items
        for index, item in enumerate(items if first is None else first.before(items, self._job.label)):
            if self._cancelled:
                return
            yield Outcomes.gather(index, (call.run(index, item, timeout),))

    def _chunks(self) -> Generator[Outcomes, None, None]:
        source = Source(self._job.items)
        for start, chunk in initialized_chunks(self._job, source, self._options.chunksize or _CHUNK):
            if self._cancelled:
                return
            yield self._job.call.run_chunk(start, chunk, self._options.timeout)
        if source.error is not None:
            raise source.error


def initialized_chunks(job: Job, source: Source, size: int) -> Iterator[tuple[int, Any]]:
    """`chunks` of a job's input; before the first of them its initializer is called, if it has one."""
    first, found = job.call.initializer, chunks(source, size)
    return found if first is None else first.before(found, job.label)


def chunks(source: Source, size: int) -> Iterator[tuple[int, Any]]:
    """The input in chunks of `size`, a list or rows of an ndarray each, with the index of the first item."""
    start = 0
    while not source.is_exhausted:
        chunk = source.take(Span(start, start + size)).sliced()
        if len(chunk):
            yield start, chunk
            source.drop(start, len(chunk))
            start += len(chunk)
