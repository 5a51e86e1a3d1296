"""Items in order, one at a time, in this process and thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from time import monotonic
from typing import Any

from ..errors import ItemTimeoutError
from ..options import BatchOptions
from ..outcome import Failure, Outcome, Outcomes
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
        run, timeout = self._job.call.run, self._options.timeout
        for index, item in enumerate(self._job.items):
            if self._cancelled:
                return
            begun = monotonic()
            outcome = run(index, item)
            if timeout is not None:
                outcome = check_time(outcome, index, monotonic() - begun, timeout)
            yield Outcomes.gather(index, (outcome,))

    def _chunks(self) -> Iterator[Outcomes]:
        start = 0
        for chunk in split(self._job.items, self._options.chunksize or _CHUNK):
            if self._cancelled:
                return
            yield self._job.call.run_chunk(start, chunk)
            start += len(chunk)


def check_time(outcome: Outcome, index: int, seconds: float, timeout: float) -> Outcome:
    """Turn the outcome of an item that took longer than `timeout` into a failure.

    This is for items that run in this process: they cannot be stopped, so the time is checked once
    they have ended. The outcome is the same as if they had been stopped.
    """
    if seconds <= timeout:
        return outcome
    error = ItemTimeoutError(f"item {index} took {seconds:.3g} s, longer than timeout={timeout:g}")
    return Failure(index, error, kind="timeout")


def split(items: Iterable[Any], size: int) -> Iterator[Any]:
    """Cut `items` into lists of `size`, an ndarray into views of `size` rows."""
    if hasattr(items, "__array_interface__") and type(items).__module__ == "numpy":
        array: Any = items
        yield from (array[at : at + size] for at in range(0, len(array), size))
        return
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
