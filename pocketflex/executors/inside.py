"""Items that run in the calling process, under ``isolate=False``: beside the workers, or alone.

    the owner's loop (process.py)              here
    feed the workers, take outcomes in  ──▶    nothing of that to do: a slice of items of its own
                                        ◀──    a few ms later, or after the one item that took longer

The owner has the items at hand: they are run as they are, by the native loop, and their results are the
objects themselves. Nothing stops such an item and nothing keeps what it does from the caller, which is
what the caller has chosen. What cannot be carried to a worker or back runs here as well, so it is not a
matter of chance whether it is a failure.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from .._engine.part import Part
from .._engine.ranges import Span
from .._engine.sizing import usable_cpus
from .._engine.source import Source, Taken
from ..errors import PayloadError
from ..options import BatchOptions
from ..outcome import Failure, Outcomes
from .base import Job, Run
from .runner import Cost, Runner

_LEAST = 0.0005  # seconds of items: near the end of a job shares become no smaller than this
_WORTH = 0.75  # of what an item costs here: workers cost more than is measured, in cold memory for one
_TRIES = 16  # slices after which workers have a block all the same: what was measured may have been a hiccup
_log = logging.getLogger("pocketflex")

Fetch = Callable[[Span], tuple[Span, Taken]]
Keep = Callable[[Outcomes], None]


def takes_part(job: Job, options: BatchOptions) -> bool:
    """Whether the calling process runs items: not where they may have to be stopped, wait, or come as chunks."""
    is_prompt = options.timeout is None and not job.call.retry.waits  # this thread feeds the workers
    return not options.isolate and is_prompt and job.call.chunk is None


def hands(options: BatchOptions, length: int | None) -> int:
    """How many run items, this process included: no more than there are items."""
    most = options.max_workers or usable_cpus()
    return most if length is None else max(1, min(most, length))


def start_inside(job: Job, options: BatchOptions, beside: Callable[[Job, BatchOptions, Runner], Run]) -> Run:
    """Begin a job that this process takes part in.

    Args:
        job: The job.
        options: Its options.
        beside: Begins it in worker processes beside a runner here; a PayloadError says that it cannot be carried.
    """
    if hands(options, Source(job.items).length) > 1:
        try:
            return beside(job, options, Runner(job.call, options, job.label))
        except PayloadError as error:
            _warn(error)
    return AloneRun(job, options)


def _warn(error: PayloadError) -> None:
    _log.warning("all items run in this process: %s", error)


class Inside:
    """The items of a job that run here while workers run the others."""

    def __init__(self, part: Part, source: Source, runner: Runner) -> None:
        self._part = part
        self._source = source
        self._runner = runner
        self._is_warned = False
        self._refusals = 0  # times in a row that workers were to have nothing more

    def work(self, fetch: Fetch, keep: Keep) -> bool:
        """Run a slice; False if there is nothing for this process to run.

        Args:
            fetch: Reads a planned span of the input, of which it may give less.
            keep: Is given the outcomes.
        """
        span = self._part.take(self._runner.cost.within(_LEAST), self._runner.want)
        if span is None:
            return self._work_claim(keep)
        span, taken = fetch(span)
        if span.start < span.stop:
            results: list[Any] = []
            failures, seconds = self._runner.run(span.start, taken, results)
            self._part.done(span, span.start + len(results), seconds)
            keep(Outcomes(span.start, results, tuple(failures)))
        return True

    def _work_claim(self, keep: Keep) -> bool:
        claim = self._part.claim(self._runner.want)
        if claim is None:
            return False
        start, results = claim.span.start, list[Any]()
        failures, seconds = self._runner.run(start, self._source.take(claim.span), results)
        self._part.settle(claim, start + len(results), seconds)
        keep(Outcomes(start, results, tuple(failures)))
        return True

    def is_dearer(self, there: Cost, back: Cost) -> bool:
        """Whether to run an item costs this process more than to carry it: workers are then to have more.

        Either is measured by what this thread computes, as a busy machine makes all take longer by the clock.
        """
        costs = there.each, back.each, self._runner.cost.each
        is_dearer = min(costs) == 0 or costs[0] + costs[1] < _WORTH * costs[2] or not self._part.is_joined
        self._refusals = 0 if is_dearer else (self._refusals + 1) % _TRIES
        return self._refusals == 0

    def warn(self, error: PayloadError) -> None:
        """No worker can load the function: everything runs here."""
        if not self._is_warned:
            self._is_warned = True
            _warn(error)

    def rescue(self, outcomes: Outcomes, target: list[Any] | None) -> Outcomes:
        """Outcomes in which what could not be carried has been run here; their results may be in `target`."""
        entries, first = outcomes.results, outcomes.start
        if target is not None and type(entries) is range:
            entries, first = target, 0
        failures: list[Failure] = []
        for failure in outcomes.failures:
            if failure.kind == "unpicklable":
                taken = self._source.take(Span(failure.index, failure.index + 1))
                here = self._runner.run_one(failure.index, taken.items[taken.start])
                entries[failure.index - first] = here.results[0]
                failures += here.failures
            else:
                failures.append(failure)
        return replace(outcomes, failures=tuple(failures))


class AloneRun:
    """A job whose items all run here, in the thread that iterates over it."""

    workers = 1

    def __init__(self, job: Job, options: BatchOptions) -> None:
        self._source = Source(job.items)
        self._runner = Runner(job.call, options, job.label)
        self._waiting = job.waiting
        self._is_patient = not (job.is_streamed or options.progress or job.told)  # whether one run of outcomes will do

    def cancel(self) -> None:
        """Stop before the next item; the one under way cannot be interrupted."""
        self._runner.cancel()

    def __iter__(self) -> Generator[Outcomes, None, None]:
        start, source = 0, self._source
        results: list[Any] = []
        failures: list[Failure] = []
        try:
            while not self._runner.is_cancelled:
                done = start + len(results)
                taken = source.take(Span(done, done + self._runner.want))
                if taken.start == taken.stop:
                    break
                failures += self._runner.run(done, taken, results)[0]
                source.drop(done, start + len(results) - done)
                if failures or not self._is_patient:
                    outcomes = Outcomes(start, results, tuple(failures))
                    start, results, failures = start + len(results), [], []
                    yield outcomes
        except KeyboardInterrupt:
            self._keep(start, results)
            raise
        if results:
            yield Outcomes(start, results)
        if source.error is not None and not self._runner.is_cancelled:
            raise source.error

    def _keep(self, start: int, results: list[Any]) -> None:
        """What has finished when a slice was interrupted, its failures too, which nobody has been told."""
        numbered = enumerate(results, start)
        failed = tuple(one for index, one in numbered if type(one) is Failure and one.index == index)
        if self._waiting is not None and results:
            self._waiting[start] = Outcomes(start, results, failed)
