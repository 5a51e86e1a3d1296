"""One batch from its job to its results: executor, progress, `on_error`.

The only place where these three meet; the sync models, the async models and `parallel_map` all use
it, so they cannot differ.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from time import perf_counter
from typing import Any, cast

from .executors import find_executor
from .executors.base import Job, Run
from .observe.progress import Bar, open_bar
from .observe.report import BatchRecord, Report
from .options import BatchOptions
from .outcome import OnError, Outcomes, settle


class Batch:
    """A job and its options; iterate over `stream` or take `results`, once."""

    def __init__(self, job: Job, options: BatchOptions, report: Report | None = None) -> None:
        """Begin the job.

        Raises:
            TypeError: The items are not iterable; the message names the work.
            OptionError, BackendUnavailableError, PayloadError: The job cannot run with these options.
        """
        self._job = replace(job, items=check_items(job.items, job.label))
        self._options = options
        self._run: Run = find_executor(options.executor).start(self._job, options)
        self._record = BatchRecord(job.label, self._run.workers)
        if report is not None:
            report.batches.append(self._record)

    def results(self) -> list[Any]:
        """Run all items and return their results as `on_error` says."""
        collected: list[Any] = []
        try:
            for results in self.stream():
                collected += results
        except RuntimeError as error:
            stop = error.__cause__
            # A generator, as `stream` is, cannot raise StopIteration: Python makes it the cause of a
            # RuntimeError. One with a note is an item's own (see `annotate`), to be raised as itself.
            if isinstance(stop, StopIteration) and hasattr(stop, "__notes__"):
                raise stop from stop.__cause__
            raise
        return collected

    def stream(self) -> Iterator[list[Any]]:
        """Yield results in runs as they come; closing the generator stops the job."""
        outcomes = self._observe()
        try:
            yield from settle(outcomes, cast(OnError, self._options.on_error), self._job.label)
        finally:
            outcomes.close()

    def cancel(self) -> None:
        """Stop the job from any thread; its results end early."""
        self._run.cancel()

    def _observe(self) -> Generator[Outcomes, None, None]:
        record, begun = self._record, perf_counter()
        bar = open_bar(self._options.progress, self._job.label, known_length(self._job.items))
        outcomes = iter(self._run)
        try:
            for run in outcomes:
                _count(run, record, bar)
                yield run
        finally:
            record.seconds = perf_counter() - begun
            getattr(outcomes, "close", lambda: None)()
            bar.close()


def _count(run: Outcomes, record: BatchRecord, bar: Bar) -> None:
    record.items += len(run.results)
    record.failures += len(run.failures)
    bar.update(len(run.results))


def check_items(items: Any, label: str) -> Any:
    """`items` if they can be iterated over, an empty list for None, else a TypeError."""
    if items is None:
        return []
    try:
        iter(items)
    except TypeError:
        kind = type(items).__name__
        raise TypeError(f"{label}: the items of a batch must be iterable, not {kind} ({items!r:.60})") from None
    return items


def known_length(items: Any) -> int | None:
    """How many items there are, None where that is only known at the end."""
    try:
        return len(items)
    except TypeError:
        return None
