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
from .serial import initialized_chunks

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
        with ThreadPoolExecutor(self.workers, thread_name_prefix="pocketflex") as pool:
            queued: deque[Future[Outcomes]] = deque()
            try:
                yield from self._drive(pool, queued)
            finally:
                self._cancelled = True
                pool.shutdown(wait=True, cancel_futures=True)
                self._keep(queued)

    def _keep(self, queued: deque[Future[Outcomes]]) -> None:
        """What has ended and is not wanted any more is there for whoever asks."""
        ended = (future for future in queued if future.done() and not future.cancelled() and not future.exception())
        for outcomes in (future.result() for future in ended):
            if self._job.waiting is not None and len(outcomes.results):
                self._job.waiting[outcomes.start] = outcomes

    def _drive(self, pool: ThreadPoolExecutor, waiting: deque[Future[Outcomes]]) -> Iterator[Outcomes]:
        for start, chunk in initialized_chunks(self._job, self._source, self._options.chunksize or 1):
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
            waiting[0].result()  # whoever is interrupted here has lost nothing
            return waiting.popleft().result()
        done = wait(waiting, return_when=FIRST_COMPLETED).done.pop()
        waiting.remove(done)
        return done.result()

    def _run_chunk(self, start: int, chunk: Any) -> Outcomes:
        call, timeout = self._job.call, self._options.timeout
        if self._cancelled:
            return Outcomes(start, [])
        if call.chunk:
            outcomes = call.run_chunk(start, chunk, timeout)
        else:
            found = [call.run(index, item, timeout) for index, item in enumerate(chunk, start)]
            outcomes = Outcomes.gather(start, found)
        if self._job.told is not None:
            self._job.told(outcomes)
        return outcomes
