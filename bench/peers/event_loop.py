"""The peers that run coroutines: each returns the results of all items, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import pocketflex as pf

from ..loads.load import Items, Kind, Results, Task
from .peer import Peer, Style

AsyncFunction = Callable[[Any], Awaitable[Any]]


class AsyncPeer(Peer):
    """A peer on an event loop of its own, which is there before anything is measured."""

    def open(self) -> None:
        """Start the event loop."""
        self._runner = asyncio.Runner()
        self._runner.get_loop()

    def close(self) -> None:
        """End it."""
        self._runner.close()

    def styles(self, kind: Kind) -> dict[str, Style]:
        """One; the size is how many coroutines run at once."""
        return {"await": self._map}

    async def run(self, function: AsyncFunction, items: Items, limit: int) -> Results:
        """The results, `limit` at once, where the peer has a limit."""
        raise NotImplementedError

    def _map(self, task: Task, size: int) -> Results:
        coroutine: Coroutine[Any, Any, Results] = self.run(task.function, task.items, size)
        return self._runner.run(coroutine)


class Awaiting(AsyncPeer):
    """A list comprehension that awaits: what the interpreter takes for it. Nothing runs at the same time."""

    async def run(self, function: AsyncFunction, items: Items, limit: int) -> Results:
        """One after the other."""
        return [await function(item) for item in items]


class Gather(AsyncPeer):
    """`asyncio.gather`, all items at once."""

    async def run(self, function: AsyncFunction, items: Items, limit: int) -> Results:
        """It has no limit."""
        return await asyncio.gather(*(function(item) for item in items))


class Group(AsyncPeer):
    """A TaskGroup with a Semaphore: what people write by hand."""

    async def run(self, function: AsyncFunction, items: Items, limit: int) -> Results:
        """A task an item."""
        semaphore = asyncio.Semaphore(limit)

        async def call(item: Any) -> Any:
            async with semaphore:
                return await function(item)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call(item)) for item in items]
        return [task.result() for task in tasks]


class Aiometer(AsyncPeer):
    """aiometer's `run_all`."""

    def __init__(self) -> None:
        import aiometer

        self._aiometer = aiometer

    async def run(self, function: AsyncFunction, items: Items, limit: int) -> Results:
        """Callables without arguments are what it takes."""
        return await self._aiometer.run_all([partial(function, item) for item in items], max_at_once=limit)


class PocketFlow(AsyncPeer):
    """The AsyncParallelBatchNode of PocketFlow, all items at once."""

    def __init__(self) -> None:
        import pocketflow

        self._pocketflow = pocketflow

    async def run(self, function: AsyncFunction, items: Items, limit: int) -> Results:
        """It has no limit."""
        node = self._pocketflow.AsyncParallelBatchNode()
        node.exec_async, node.prep_async, node.post_async = function, _prep, _post
        shared = {"items": items}
        await node.run_async(shared)
        return shared["results"]


class PocketflexAsync(AsyncPeer):
    """`pocketflex.run_async_parallel_batch` of an AsyncBatchNode."""

    async def run(self, function: AsyncFunction, items: Items, limit: int) -> Results:
        """Through a flow, as users do."""
        node: Any = pf.AsyncBatchNode()
        node.exec_item_async, node.prep_async, node.post_async = function, _prep, _post
        done = await pf.run_async_parallel_batch(pf.Flow(start=node), {"items": items}, max_concurrency=limit)
        return done["results"]


async def _prep(shared: dict[str, Any]) -> Items:
    return shared["items"]


async def _post(shared: dict[str, Any], items: Items, results: Results) -> str:
    shared["results"] = results
    return "done"
