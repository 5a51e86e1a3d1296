"""The nodes whose phases are awaited. They describe what is to be awaited; `aio` does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, Generic, cast

from .batch_node import BatchNode
from .errors import FlowError
from .node import E, Node, P, Posted, S, default, is_default
from .outcome import Value, noted
from .retry import policy
from .walk import AsyncCall, Phase, Walk, label_of, warn_user


class AsyncNode(Node[S, P, E]):
    """A node whose phases are awaited.

    `prep` and `post` may be overridden in place of `prep_async` and `post_async`, with ``def`` or ``async def``.
    They run on the event loop, so they may touch what is bound to it, and should not block it.
    """

    _awaited = True

    @default
    async def prep_async(self, shared: S) -> P:
        """`prep`, awaited; by default it calls `prep`."""
        return cast(P, await _resolve(self.prep(shared)))

    @default
    async def exec_async(self, prep_result: P) -> E:
        """`exec`, awaited."""
        return cast(E, None)

    @default
    async def exec_fallback_async(self, prep_result: P, exc: Exception) -> E:
        """`exec_fallback`, awaited; by default it calls `exec_fallback`."""
        return cast(E, await _resolve(self.exec_fallback(prep_result, exc)))

    @default
    async def post_async(self, shared: S, prep_result: P, exec_result: E) -> Posted:
        """`post`, awaited; by default it calls `post`."""
        return cast(Posted, await _resolve(self.post(shared, prep_result, exec_result)))

    def run(self, shared: S) -> Any:
        """Not for async nodes.

        Raises:
            FlowError: Always; `run_async` is the way.
        """
        raise FlowError(f"{label_of(self)} is async: use `await node.run_async(shared)`")

    async def run_async(self, shared: S) -> Any:
        """Run this node alone, as PocketFlow does: `shared` is changed in place, the action returned."""
        from .aio import run_in_place

        if self.successors:
            warn_user("Node won't run successors. Use AsyncFlow.")
        return await run_in_place(self, shared)

    def _phase(self, name: str, *args: Any) -> Walk:
        method, plain = getattr(self, f"{name}_async"), getattr(self, name)
        if is_default(method) and is_default(plain):
            return Value(plain(*args))
        return noted((yield Phase(self, method, args)), f"{label_of(self)}, {name}")

    def _function(self) -> Callable[[Any], Any]:
        return self.exec_async

    def _call(self) -> Any:
        own = is_default(self.exec_fallback_async) and is_default(self.exec_fallback)
        fallback = None if own else self.exec_fallback_async
        return AsyncCall(self._function(), policy(self.max_retries, self.wait, self.retry), fallback)


class AsyncBatchNode(AsyncNode[S, Any, Any], BatchNode[S, P, E], Generic[S, P, E]):
    """A node that awaits `exec_item_async` for each item that `prep` gives, one after another.

    `prep_async` may give an async iterable as well. Everything else is as in `BatchNode`.
    """

    @default
    async def exec_async(self, item: P) -> E:
        """Compute the result of one item, as in PocketFlow; `exec_item_async` is the clearer name."""
        return cast(E, None)

    @default
    async def exec_item_async(self, item: P) -> E:
        """Compute the result of one item; by default ``exec_async(item)``."""
        return await self.exec_async(item)

    @default
    async def post_async(self, shared: S, prep_result: Any, exec_result: list[E]) -> Posted:
        """`post`, awaited; by default it calls `post`."""
        return cast(Posted, await _resolve(self.post(shared, prep_result, exec_result)))

    def _function(self) -> Callable[[Any], Any]:
        return self.exec_async if is_default(self.exec_item_async) else self.exec_item_async


class AsyncParallelBatchNode(AsyncBatchNode[S, P, E]):
    """An `AsyncBatchNode` whose items are under way at once, `max_concurrency` at the most."""

    _parallel = True


async def _resolve(value: Awaitable[Any] | Any) -> Any:
    return await value if isawaitable(value) else value
