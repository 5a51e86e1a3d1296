"""Items in a thread pool of this process: for work that releases the GIL, or waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any

from .._engine.source import Source
from ..options import BatchOptions
from ..outcome import Outcomes
from .base import Job
from .serial import chunks

_AHEAD = 4  # chunks a thread that are queued or undelivered: enough to keep it busy, bounded for generators


class Threads:
    """Runs a job's items in `max_workers` threads, by default one per usable CPU."""

    def start(self, job: Job, options: BatchOptions) -> ThreadsRun:
        """Begin a job; its threads live as long as the iteration over the run."""
        return ThreadsRun(job, options)


class ThreadsRun:
    """A job under way in threads of its own."""

    def __init__(self, job: Job, options: BatchOptions) -> None:
        from .._engine.sizing import usable_cpus

        self._job = job
        self._options = options
        self._source = Source(job.items)
        self._cancelled = False
        self.workers = options.max_workers or usable_cpus()

    def cancel(self) -> None:
        """Stop feeding; items under way cannot be interrupted and are waited for."""
        self._cancelled = True

    def __iter__(self) -> Generator[Outcomes, None, None]:
        self._job.call.initialize(self._job.label)
        with ThreadPoolExecutor(self.workers, thread_name_prefix="pocketflex") as pool:
            try:
                yield from self._drive(pool)
            finally:
                self._cancelled = True
                pool.shutdown(wait=True, cancel_futures=True)

    def _drive(self, pool: ThreadPoolExecutor) -> Iterator[Outcomes]:
        waiting: deque[Future[Outcomes]] = deque()
        for start, chunk in chunks(self._source, self._options.chunksize or 1):
            if self._cancelled:
                return
            waiting.append(pool.submit(copy_context().run, self._run_chunk, start, chunk))
            while len(waiting) >= _AHEAD * self.workers or (waiting and waiting[0].done()):
                yield self._next(waiting)
        while waiting and not self._cancelled:
            yield self._next(waiting)
        if self._source.error is not None:
            raise self._source.error

    def _next(self, waiting: deque[Future[Outcomes]]) -> Outcomes:
        if self._options.ordered:
            return waiting.popleft().result()
        done = wait(waiting, return_when=FIRST_COMPLETED).done.pop()
        waiting.remove(done)
        return done.result()

    def _run_chunk(self, start: int, chunk: Any) -> Outcomes:
        call, timeout = self._job.call, self._options.timeout
        if self._cancelled:
            return Outcomes(start, [])
        if call.chunk:
            return call.run_chunk(start, chunk, timeout)
        return Outcomes.gather(start, [call.run(index, item, timeout) for index, item in enumerate(chunk, start)])
