"""The async models: `run_async`, `run_async_batch`, `run_async_parallel_batch`, on one driver.

Async nodes are awaited on the event loop; what is sync runs in a thread, so that the loop goes on. A
call that is cancelled stops what it has begun, waits for it, and raises CancelledError: nothing runs
on behind the caller's back. A thread cannot be interrupted, so the wait may take as long as the phase in it.

A coroutine cannot raise StopIteration: Python makes it a RuntimeError with the StopIteration as its cause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from ..drive import SPREADS, Setting, unwrap
from ..journal.shelf import Shelf
from ..models import check_call, open_early, own_shared
from ..node import BaseNode
from ..observe.report import Report
from ..walk import Lenient, State, Strict
from .drive import drive

_APART = {"isolate": True}  # an item in this process would keep the event loop waiting, in a thread too


async def run_async(flow: Any, shared: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """Run a flow of sync and async nodes without blocking the event loop; batches run as their class says.

    An `AsyncBatchNode` awaits its items one after another, an `AsyncParallelBatchNode` up to `max_concurrency`
    at once; a `BatchNode` runs in order in a thread, a `ParallelBatchNode` in worker processes. Arguments,
    result and exceptions are those of `run`. When the call is cancelled it stops what it has begun, waits for that, and
    raises CancelledError.

    Example:
        >>> import asyncio
        >>> import pocketflex as pf
        >>> class Fetch(pf.AsyncParallelBatchNode):
        ...     def prep(self, shared):
        ...         return shared["names"]
        ...     async def exec_item_async(self, name):
        ...         await asyncio.sleep(0)
        ...         return name.upper()
        ...     def post(self, shared, names, fetched):
        ...         return "done", {**shared, "fetched": fetched}
        >>> asyncio.run(pf.run_async(pf.Flow(start=Fetch), {"names": ["a", "b"]}))["fetched"]
        ['A', 'B']
    """
    return await execute(flow, shared, "async", options, Report())


async def run_async_batch(flow: Any, shared: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """Run a flow without blocking the event loop; every batch runs one item after another.

    Items of async nodes are awaited, those of sync nodes run in a thread. Arguments, result and exceptions are
    those of `run`, cancellation is that of `run_async`.

    Example:
        >>> import asyncio
        >>> import pocketflex as pf
        >>> class Upper(pf.BatchNode):
        ...     def prep(self, shared):
        ...         return shared["names"]
        ...     def exec_item(self, name):
        ...         return name.upper()
        ...     def post(self, shared, names, upper):
        ...         return "done", {**shared, "upper": upper}
        >>> asyncio.run(pf.run_async_batch(pf.Flow(start=Upper), {"names": ["a", "b"]}))["upper"]
        ['A', 'B']
    """
    return await execute(flow, shared, "async-batch", options, Report())


async def run_async_parallel_batch(
    flow: Any, shared: Mapping[str, Any] | None = None, **options: Any
) -> dict[str, Any]:
    """Run a flow without blocking the event loop; every batch runs its items side by side.

    Items of async nodes are awaited up to `max_concurrency` at once, those of sync nodes run in worker
    processes, or where `executor` says. Arguments, result and exceptions are those of `run`, cancellation is
    that of `run_async`.

    Example:
        >>> import asyncio
        >>> import pocketflex as pf
        >>> class Upper(pf.AsyncBatchNode):
        ...     def prep(self, shared):
        ...         return shared["names"]
        ...     async def exec_item_async(self, name):
        ...         return name.upper()
        ...     def post(self, shared, names, upper):
        ...         return "done", {**shared, "upper": upper}
        >>> flow = pf.Flow(start=Upper)
        >>> asyncio.run(pf.run_async_parallel_batch(flow, {"names": ["a", "b"]}, max_concurrency=8))["upper"]
        ['A', 'B']
    """
    return await execute(flow, shared, "async-parallel-batch", options, Report())


async def execute(
    flow: Any, shared: Mapping[str, Any] | None, model: str, options: Mapping[str, Any], report: Report
) -> dict[str, Any]:
    """Run `flow` under an async model, by its name, and add a record of each batch to `report`."""
    ready = check_call(flow, options)
    state = State(own_shared(shared), Strict(), options)
    with closing(Shelf()) as shelf:
        open_early(options, shelf)
        unwrap(await drive(ready._visit(state), Setting(SPREADS[model], {**options, **_APART}, report, shelf)))
    result: dict[str, Any] = state.shared
    return result


def complete(
    flow: Any, shared: Mapping[str, Any] | None, model: str, options: Mapping[str, Any], report: Report
) -> dict[str, Any]:
    """`execute` on an event loop of its own, for a caller that has none."""
    return asyncio.run(execute(flow, shared, model, options, report))


async def run_in_place(node: BaseNode[Any, Any, Any], shared: Any) -> Any:
    """Run a node or flow in PocketFlow's way: `shared` is changed in place, the action returned."""
    with closing(Shelf()) as shelf:
        return unwrap(await drive(node._visit(State(shared, Lenient())), Setting(given=_APART, shelf=shelf)))
