"""One batch from its job to its results: executor, progress, `on_error`.

The only place where these three meet; the sync models, the async models and `parallel_map` all use
it, so they cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from .assembly import Assembly
from .call import Call
from .errors import OptionError
from .executors import find_executor
from .executors.base import Executor, Job, Run
from .harvest import BatchHarvest, hand_over, note_count
from .modules import loaded
from .observe.progress import Bar, open_bar
from .observe.report import BatchRecord, Report
from .options import BatchOptions
from .outcome import OnError, Outcomes
from .settlement import Settlement

if TYPE_CHECKING:
    from .journal.resumed import ResumedRun
    from .journal.shelf import Place

_ASYNC = 0x80 | 0x200  # CO_COROUTINE, CO_ASYNC_GENERATOR


class Batch:
    """A job and its options; iterate over `stream` or take `results`, once."""

    def __init__(
        self, job: Job, options: BatchOptions, report: Report | None = None, place: Place | None = None
    ) -> None:
        """Begin the job; `place` is for the journal of a call that may have several batches.

        Raises:
            TypeError: The items are not iterable; the message names the work.
            JournalError: The journal cannot be used, or is of other work.
            OptionError, BackendUnavailableError, PayloadError: The job cannot run with these options.
        """
        self._length = known_length(job.items)
        items = check_items(job.items, job.label)
        self._assembly = Assembly(options, job.label, None if job.is_streamed else _fixed_length(items))
        is_array, target = options.output == "array", self._assembly.target
        self._waiting: dict[int, Outcomes] = {}  # what the run has and could not yield
        call = job.call if options.seed is None and options.initializer is None else _prepare(job.call, options)
        self._job = Job(call, items, job.label, job.is_streamed, is_array, target, self._waiting)
        self._options = options
        self._settlement = Settlement(cast(OnError, options.on_error), job.label)
        self._spans: list[tuple[int, int]] | None = None if options.ordered else []
        self._resumed: ResumedRun | None = None
        executor = find_executor(options.executor)
        if options.resume is not None:
            self._resumed = _resume(self._job, options, executor, place)
        self._run: Run = self._resumed or executor.start(self._job, options)
        self._record = BatchRecord(job.label, self._run.workers)
        if report is not None:
            report.batches.append(self._record)

    def results(self) -> Any:
        """Run all items and return their results as `on_error` and `output` say."""
        settlement, assembly, spans = self._settlement, self._assembly, self._spans
        run: Outcomes | None = None
        try:
            with closing(self._observe()) as runs:
                for run in runs:
                    assembly.add(settlement.take(run))
                    if spans is not None:
                        spans.append((run.start, len(run.results)))
            settlement.close()
            return assembly.finish()
        except BaseException as error:
            self._end(error, run)
            raise

    def stream(self) -> Iterator[list[Any]]:
        """Yield results in runs as they come; closing the generator stops the job.

        A generator cannot raise StopIteration: that of an item arrives as the cause of a RuntimeError.
        """
        settlement, is_raising = self._settlement, self._options.on_error == "raise"
        run: Outcomes | None = None
        try:
            with closing(self._observe()) as runs:
                for run in runs:
                    if run.failures and is_raising:  # what is before it has its turn
                        yield run.results[: run.failures[0].index - run.start]
                    yield settlement.take(run)
            settlement.close()
        except GeneratorExit:
            raise
        except BaseException as error:
            self._end(error, run)
            raise

    def hand_over(self, error: BaseException) -> None:
        """Let the exception of a call that was interrupted carry what there is."""
        harvest = self._harvest(None)
        hand_over(error, harvest)
        yielded = self._settlement.seen if self._job.is_streamed else 0
        note_count(error, self._job.label, yielded + len(harvest), self._length, yielded)

    def _end(self, error: BaseException, run: Outcomes | None) -> None:
        """An exception ends the batch: let it tell and carry what is known."""
        raised = self._settlement.raised
        if raised is not None and raised.error is error:
            self._settlement.note_others(failure for left in self._waiting.values() for failure in left.failures)
            hand_over(error, self._harvest(run))
        elif isinstance(error, KeyboardInterrupt):
            self.hand_over(error)
        else:
            hand_over(error, self._harvest(None))

    def _harvest(self, run: Outcomes | None) -> BatchHarvest:
        waiting = [*([run] if run is not None else []), *self._waiting.values()]
        return BatchHarvest(None if self._job.is_streamed else self._assembly, self._settlement, waiting, self._spans)

    def cancel(self) -> None:
        """Stop the job from any thread; its results end early, and `hand_over` has what there was."""
        self._run.cancel()

    def _observe(self) -> Generator[Outcomes, None, None]:
        record, begun = self._record, perf_counter()
        bar = open_bar(self._options.progress, self._job.label, self._length)
        outcomes = iter(self._run)
        try:
            for run in outcomes:
                _count(run, record, bar)
                yield run
        finally:
            record.seconds = perf_counter() - begun
            record.resumed = self._resumed.resumed if self._resumed else 0
            outcomes.close()
            bar.close()


def _prepare(call: Call, options: BatchOptions) -> Call:
    from .prepared import prepare  # late: nobody else needs it

    return prepare(call, options)


def _resume(job: Job, options: BatchOptions, executor: Executor, place: Place | None) -> ResumedRun:
    from .journal.resumed import begin  # late: nobody else needs it

    return begin(job, options, executor, place)


def mapping(
    door: str, function: Callable[..., Any], items: Any, options: Mapping[str, Any], *, is_streamed: bool = False
) -> Batch:
    """The batch of `parallel_map` and its like: one function, called with every item.

    Raises:
        TypeError: It is not a function, or the items are not iterable.
        OptionError, BackendUnavailableError, PayloadError: It cannot run with these options.
    """
    if not callable(function):
        raise TypeError(f"the first argument must be a function, not {type(function).__name__} ({function!r:.60})")
    if _is_async(function):
        raise TypeError(
            f"{door}: {getattr(function, '__qualname__', function)!s:.60} is async, and {door} calls plain functions: "
            "make it the exec_item_async of an AsyncBatchNode, for run_async_parallel_batch"
        )
    label = f"{door}({getattr(function, '__qualname__', type(function).__name__)})"
    if items is None:  # of a node it is an empty batch, as in PocketFlow
        raise TypeError(f"{label}: the items of a batch must be iterable, not NoneType (None)")
    resolved = BatchOptions.resolve(options)
    call = Call(function) if resolved.retry is None else Call(function, resolved.retry)
    job = Job(call, items, label, is_streamed=is_streamed)
    if is_streamed and resolved.output != "list":
        raise OptionError(f"output={resolved.output!r}: {door} yields one result after the other")
    return Batch(job, resolved)


def _is_async(function: Any) -> bool:
    """Whether a call gives a coroutine or an async generator, for all that is known without inspect and asyncio."""
    while isinstance(function, partial):
        function = function.func
    called = function if hasattr(function, "__code__") else getattr(type(function), "__call__", None)  # noqa: B004
    code = getattr(getattr(function, "__func__", called), "__code__", None)
    return bool(getattr(code, "co_flags", 0) & _ASYNC)


def _count(run: Outcomes, record: BatchRecord, bar: Bar) -> None:
    record.items += len(run.results)
    record.failures += len(run.failures)
    bar.update(len(run.results))


def check_items(items: Any, label: str) -> Any:
    """`items`, or where they are not to be sliced an iterator over them, made once.

    Raises:
        TypeError: They cannot be iterated over; the message has `label`.
    """
    if items is None:
        return []
    numpy = loaded("numpy")
    if numpy is not None and type(items) in (numpy.ndarray, numpy.memmap):
        items = numpy.asarray(items)  # its rows are the same, and need not be pickled
    elif type(items) in (list, tuple, range):
        return items
    try:
        return items if numpy is not None and type(items) is numpy.ndarray and items.ndim else iter(items)
    except TypeError:
        kind = type(items).__name__
        raise TypeError(f"{label}: the items of a batch must be iterable, not {kind} ({items!r:.60})") from None


def _fixed_length(items: Any) -> int | None:
    """How many items checked ones are: an iterator's length may be a guess, or a lie."""
    return None if isinstance(items, Iterator) else len(items)


def known_length(items: Any) -> int | None:
    """How many items there are, None where that is only known at the end."""
    try:
        return len(items)
    except TypeError:
        return None
