"""The nodes that work on many items."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, cast

from .call import Call
from .node import E, Node, P, Posted, S, default, is_default
from .outcome import Outcome, Value
from .walk import ForEach, State, Walk


class BatchNode(Node[S, Any, Any], Generic[S, P, E]):
    """A node that runs `exec_item` on each item that `prep` gives.

    `prep` returns any iterable (the rows of an ndarray are its items); None is an empty batch.
    `post` receives the list of results in the order of the items. Options of a batch, such as
    `on_error` or `timeout`, may be set as attributes. In ``BatchNode[Shared, Item, Result]`` the
    last two are the types of one item and of its result. `exec_fallback` gets one item as well.
    """

    @default
    def exec(self, item: P) -> E:
        """Compute the result of one item, as in PocketFlow; `exec_item` is the clearer name."""
        return cast(E, None)

    @default
    def exec_item(self, item: P) -> E:
        """Compute the result of one item; by default ``exec(item)``. May run in a worker process."""
        return self.exec(item)

    @default
    def exec_chunk(self, items: Any) -> Iterable[E]:
        """Compute the results of several items at once, in their order; overriding it is optional.

        Args:
            items: A list, or a view of rows where `prep` gave an ndarray.
        """
        return [self.exec_item(item) for item in items]

    @default
    def exec_fallback(self, item: P, exc: Exception) -> E:
        """Give the result of an item once every attempt at it has failed; by default `exc` is raised."""
        raise exc

    @default
    def post(self, shared: S, prep_result: Any, exec_result: list[E]) -> Posted:
        """Take the list of results, in the order of the items, and return the action."""
        return None

    def _execute(self, prepared: Any, state: State) -> Walk:
        return self._finish((yield ForEach(self, [] if prepared is None else prepared)), state)

    def _finish(self, outcome: Outcome, state: State) -> Outcome:
        if isinstance(outcome, Value):
            state.result = outcome.result
        return outcome  # a failing item's exception is annotated where `on_error` is applied

    def _function(self) -> Callable[[Any], Any]:
        return self.exec if is_default(self.exec_item) else self.exec_item

    def _call(self) -> Any:
        plain: Call = super()._call()
        chunk = None if is_default(self.exec_chunk) else self.exec_chunk
        return Call(plain.function, plain.retry, plain.fallback, chunk)


class ParallelBatchNode(BatchNode[S, P, E]):
    """A `BatchNode` whose items run in worker processes under `run` and `run_async` as well."""

    _parallel = True
