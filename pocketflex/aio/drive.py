"""The async driver: performs the commands of a walk on the event loop, and in threads what is sync."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from inspect import isawaitable
from threading import Lock
from typing import Any

from ..batch import Batch
from ..drive import Setting, capture, unwrap
from ..observe.report import BatchRecord
from ..options import BatchOptions
from ..outcome import Failure, Outcome, Value
from ..retry import begin_attempt, current_attempt
from ..walk import AsyncCall, Attempt, Command, ForEach, Phase, Runs, Walk, label_of
from .batch import run_items
from .tasks import attempt_item, in_thread, in_thread_apart


async def drive(walk: Walk, setting: Setting) -> Outcome:
    """Perform the commands of `walk` until it ends; KeyboardInterrupt and CancelledError pass through."""
    outer = current_attempt()
    outcome: Any = None  # what a generator is sent first
    try:
        while True:
            try:
                command = walk.send(outcome)
            except StopIteration as end:  # the walk's own: what a node raises is an outcome
                final: Outcome = end.value
                return final
            outcome = await _perform(command, setting)
    finally:
        walk.close()
        begin_attempt(outer)


async def _perform(command: Command, setting: Setting) -> Outcome:
    is_awaited = command.node._awaited
    outcome: Outcome
    match command:
        case Phase(_, function, args) if is_awaited:
            outcome = await _capture(function, *args)
        case Phase(_, function, args):
            outcome = await in_thread(capture, function, *args)
        case Attempt(node, item) if is_awaited:
            outcome = await attempt_item(node._call(), 0, item)
        case Attempt(node, item):
            outcome = await in_thread(node._call().run, 0, item)
        case ForEach() | Runs() if is_awaited:
            outcome = await _capture(_await_batch, command, setting)
        case ForEach() | Runs():
            batch = ThreadedBatch(lambda: setting.batch(command))
            try:
                outcome = await in_thread_apart(capture, batch.results, stop=batch.cancel)
            except asyncio.CancelledError as error:
                batch.hand_over(error)
                raise
    return outcome


async def _capture(function: Callable[..., Any], *args: Any) -> Outcome:
    try:
        value = function(*args)
        return Value(await value if isawaitable(value) else value)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise
    except BaseException as error:
        return Failure(0, error)


async def _await_batch(command: ForEach | Runs, setting: Setting) -> Any:
    options = BatchOptions.resolve(setting.given, command.node)
    if not setting.is_spread(command):
        options = replace(options, max_concurrency=1)
    record = BatchRecord(label_of(command.node), workers=1)
    setting.report.batches.append(record)
    if isinstance(command, Runs):  # their runs share `shared`: one whose result alone were resumed would write nothing
        call, options = AsyncCall(_once(command, setting)), replace(options, resume=None)
    else:
        call = command.node._call()
        call = call if options.retry is None else replace(call, retry=options.retry)
    if options.seed is not None:
        call = replace(call, seed=options.seed)
    return await run_items(call, command.items, options, record, setting.place(command))


def _once(command: Runs, setting: Setting) -> Callable[[Any], Any]:
    """What is awaited for each params dict of an async batch flow."""
    flow: Any = command.node

    async def run_once(params: Any) -> Any:
        return unwrap(await drive(flow._once(params, command.state), setting))

    return run_once


class ThreadedBatch:
    """A batch that one thread begins and drives, and that another may cancel at any time."""

    def __init__(self, begin: Callable[[], Batch]) -> None:
        self._begin = begin
        self._batch: Batch | None = None
        self._is_cancelled = False
        self._lock = Lock()  # or a cancel between the start of the batch and its assignment would be lost

    def results(self) -> Any:
        """Begin the batch and return its results."""
        with self._lock:
            if self._is_cancelled:
                return []
            self._batch = self._begin()
        return self._batch.results()

    def cancel(self) -> None:
        """Stop the batch; `results` then ends early."""
        with self._lock:
            self._is_cancelled = True
            if self._batch is not None:
                self._batch.cancel()

    def hand_over(self, error: asyncio.CancelledError) -> None:
        """Let the exception carry what there is."""
        if self._batch is not None:
            self._batch.hand_over(error)
