"""One batch from its job to its results: executor, progress, `on_error`.

The only place where these three meet; the sync models, the async models and `parallel_map` all use
it, so they cannot differ.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, cast

from .assembly import Assembly
from .errors import OptionError
from .executors import find_executor
from .executors.base import Job, Run
from .observe.progress import Bar, open_bar
from .observe.report import BatchRecord, Report
from .options import BatchOptions
from .outcome import OnError, Outcomes, Settlement
from .retry import Call, Initializer

_ASYNC = 0x80 | 0x200  # CO_COROUTINE, CO_ASYNC_GENERATOR


class Batch:
    """A job and its options; iterate over `stream` or take `results`, once."""

    def __init__(self, job: Job, options: BatchOptions, report: Report | None = None) -> None:
        """Begin the job.

        Raises:
            TypeError: The items are not iterable; the message names the work.
            OptionError, BackendUnavailableError, PayloadError: The job cannot run with these options.
        """
        self._length = known_length(job.items)
        items = check_items(job.items, job.label)
        self._assembly = Assembly(options, job.label, None if job.is_streamed else _fixed_length(items))
        is_array, target = options.output == "array", self._assembly.target
        call = job.call
        if options.seed is not None or options.initializer is not None:
            before = options.initializer and Initializer(options.initializer, options.initargs)
            call = replace(call, seed=options.seed, initializer=before)
        self._job = Job(call, items, job.label, job.is_streamed, is_array, target)
        self._options = options
        self._run: Run = find_executor(options.executor).start(self._job, options)
        self._record = BatchRecord(job.label, self._run.workers)
        if report is not None:
            report.batches.append(self._record)

    def results(self) -> Any:
        """Run all items and return their results as `on_error` and `output` say."""
        settlement, assembly = self._settlement(), self._assembly
        with closing(self._observe()) as runs:
            for run in runs:
                assembly.add(settlement.take(run))
        settlement.close()
        return assembly.finish()

    def stream(self) -> Iterator[list[Any]]:
        """Yield results in runs as they come; closing the generator stops the job.

        A generator cannot raise StopIteration: that of an item arrives as the cause of a RuntimeError.
        """
        settlement = self._settlement()
        with closing(self._observe()) as runs:
            for run in runs:
                yield settlement.take(run)
        settlement.close()

    def _settlement(self) -> Settlement:
        return Settlement(cast(OnError, self._options.on_error), self._job.label)

    def cancel(self) -> None:
        """Stop the job from any thread; its results end early."""
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
            outcomes.close()
            bar.close()


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
    job = Job(Call(function), items, label, is_streamed=is_streamed)
    resolved = BatchOptions.resolve(options)
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
    numpy = sys.modules.get("numpy")
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
