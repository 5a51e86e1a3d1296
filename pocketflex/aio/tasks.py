"""Single things that are awaited: the attempts of one item, the end of tasks, a call in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from inspect import CO_COROUTINE
from types import CoroutineType, FunctionType, coroutine
from typing import Any

from ..outcome import Failure, Outcome, Value
from ..retry import begin_attempt
from ..seeds import begin_own_draws
from ..walk import AsyncCall

Pause = Callable[[float], Awaitable[Any]]


async def attempt_item(call: AsyncCall, index: int, item: Any, pause: Pause = asyncio.sleep) -> Outcome:
    """Await one item with its retries and its fallback: `call.Call.run`, awaited.

    A CancelledError passes through, whether the task is cancelled or the item raised it. While it waits for its
    next attempt an item keeps its task, and so its place among `max_concurrency`: a service that refuses one
    request is not sent more of them meanwhile.
    """
    attempts = 0
    while True:
        begin_attempt(attempts)
        attempts += 1
        if call.seed is not None:
            begin_own_draws(call.seed, index)
        try:
            return Value(await call.function(item))
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise
        except Exception as error:
            outcome = await _weigh(call, index, item, error, attempts)
        except BaseException as error:
            outcome = Failure(index, error, attempts)
        if outcome is not None:
            return outcome
        if seconds := call.retry.pause(attempts):
            await pause(seconds)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _weigh(call: AsyncCall, index: int, item: Any, error: Exception, attempts: int) -> Outcome | None:
    """The outcome of an item whose attempt has failed; None: it is tried again."""
    if _is_cancelled():  # the item made something else of its cancellation: no time is left for it
        return Failure(index, error, attempts)
    try:
        if call.retry.goes_on(attempts, error):
            return None
        if call.fallback is None:
            return Failure(index, error, attempts)
        return Value(await call.fallback(item, error))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise
    except BaseException as final:
        return Failure(index, final, attempts)


def is_coroutine_function(function: Any) -> bool:
    """Whether a call is certain to give a coroutine; others may give anything that can be awaited."""
    function = getattr(function, "__func__", function)
    return isinstance(function, FunctionType) and bool(function.__code__.co_flags & CO_COROUTINE)


@coroutine
def go_on(started: CoroutineType[Any, Any, Any], yielded: Any) -> Generator[Any, Any, Any]:
    """Await a coroutine that has been started, and has yielded this (PEP 380, what ``yield from`` does)."""
    while True:
        try:
            sent = yield yielded
        except GeneratorExit:
            started.close()
            raise
        except BaseException as error:
            step: Callable[[], Any] = partial(started.throw, error)
        else:
            step = partial(started.send, sent)
        try:
            yielded = step()
        except StopIteration as ended:
            return ended.value


async def end_all(tasks: Sequence[asyncio.Future[Any]], abandon: Callable[[], object]) -> None:
    """Wait until every task has ended. If this is cancelled: `abandon`, wait nonetheless, raise.

    What a task raised is raised here.
    """
    cancelled: asyncio.CancelledError | None = None
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
            abandon()
    errors = [raised for task in tasks if not task.cancelled() and (raised := task.exception())]
    if cancelled is not None:
        raise cancelled
    if errors:
        raise errors[0]


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Call `function` in one of the loop's threads, in a copy of this context.

    If this is cancelled it waits until the function has ended, and raises CancelledError.
    """
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(None, copy_context().run, function, *args)
    await end_all([future], lambda: None)
    return future.result()


async def in_thread_apart(function: Callable[..., Any], *args: Any, stop: Callable[[], object]) -> Any:
    """Call `function`, which may last for long, in a thread of its own: the loop's threads are few, and for all.

    If this is cancelled it calls `stop`, waits until the function has ended, and raises CancelledError.
    """
    loop, executor = asyncio.get_running_loop(), ThreadPoolExecutor(1, "pocketflex-batch")
    future = loop.run_in_executor(executor, copy_context().run, function, *args)
    try:
        await end_all([future], stop)
        return future.result()
    finally:
        executor.shutdown(wait=future.done())  # done, its thread ends at once; else the loop is being closed
