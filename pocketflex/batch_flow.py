"""Flows that run once for each params dict that `prep` gives, and the async flows.

The result of one run is what `exec` of the last node visited in it returned; `post` receives the
list of these results. In each run the nodes' `params` are the flow's own, updated by those of the run.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from .async_node import AsyncNode
from .flow import Flow
from .node import Posted, S, default
from .options import BatchOptions
from .outcome import Failure, OnError, Outcome, Outcomes, Value
from .settlement import settle
from .walk import Phase, Runs, State, Walk, follow, label_of

_END = object()


class BatchFlow(Flow[S]):
    """A flow that runs once for each params dict that `prep` gives, one after another.

    The runs share `shared` and change it in place, so they are in order in this process under every model;
    the batch nodes in them follow the model. `on_error` applies to the runs as to the items of a batch. What a
    run replaces by ``(action, new_shared)`` is, under the module functions, seen in that run only.
    """

    @default
    def post(self, shared: S, prep_result: Any, exec_result: Any) -> Posted:
        """Return the action of this flow; `exec_result` is the list of the runs' results."""
        return None

    def _phase(self, name: str, *args: Any) -> Walk:
        outcome = yield from super()._phase(name, *args)
        empty = name == "prep" and isinstance(outcome, Value) and outcome.result is None
        return Value([]) if empty else outcome

    def _execute(self, prepared: Any, state: State) -> Walk:
        on_error = cast(OnError, BatchOptions.resolve(state.given, self).on_error)
        draw = _drawer(prepared, label_of(self))
        if isinstance(draw, Failure):
            return draw
        outcomes: list[Outcome] = []
        while True:
            # A list cannot run the user's code when it is read; anything else is for the driver.
            drawn = Value(draw()) if type(prepared) in (list, tuple) else (yield Phase(self, draw, ()))
            if isinstance(drawn, Failure):
                return drawn
            if drawn.result is _END:
                return _keep(_settle(outcomes, on_error, label_of(self)), state)
            outcome = yield from self._once(drawn.result, state)
            outcomes.append(outcome if isinstance(outcome, Value) else replace(outcome, index=len(outcomes)))
            if isinstance(outcome, Failure) and on_error == "raise":
                return _settle(outcomes, on_error, label_of(self))

    def _once(self, params: Any, state: State) -> Walk:
        """One run; its outcome's result is that of the last node visited."""
        if not isinstance(params, Mapping):
            wanted = "prep of a batch flow must give dicts of params"
            return Failure(0, TypeError(f"{label_of(self)}: {wanted}, not {type(params).__name__} ({params!r:.60})"))
        run = State(state.shared, state.rule, state.given)
        outcome = yield from follow(self.start_node, {**self.params, **params}, run)
        return outcome if isinstance(outcome, Failure) else Value(run.result)


class ParallelBatchFlow(BatchFlow[S]):
    """A `BatchFlow` whose runs take place in worker processes, at once.

    Each run gets a copy of `shared`; what it changes stays in the worker, so hand results on as what the last
    node's `exec` returns. Under `run_batch` the runs are in order in this process, each with a copy of the dict
    (what the dict holds is not copied). All of its nodes must be sync.
    """

    _parallel = True

    def _execute(self, prepared: Any, state: State) -> Walk:
        return _keep((yield Runs(self, prepared, state)), state)


class AsyncFlow(Flow[S], AsyncNode[S, Any, Any]):
    """A flow with `run_async`, for sync and async nodes; its `prep_async` and `post_async` are awaited."""


class AsyncBatchFlow(AsyncFlow[S], BatchFlow[S]):
    """A `BatchFlow` for sync and async nodes: one run after another, awaited."""


class AsyncParallelBatchFlow(AsyncBatchFlow[S]):
    """An `AsyncBatchFlow` whose runs are under way at once, `max_concurrency` at the most.

    When a run fails under ``on_error="raise"``, the runs after it are cancelled and waited for.
    """

    _parallel = True

    def _execute(self, prepared: Any, state: State) -> Walk:
        return _keep((yield Runs(self, prepared, state)), state)


def _drawer(items: Iterable[Any] | AsyncIterable[Any], label: str) -> Callable[[], Any] | Failure:
    """A function that gives the next of `items` and, after the last, `_END`."""
    if isinstance(items, AsyncIterable):
        feed = aiter(items)
        return lambda: anext(feed, _END)
    try:
        iterator = iter(items)
    except TypeError:
        kind = type(items).__name__
        return Failure(0, TypeError(f"{label}: prep of a batch flow must give an iterable of params, not {kind}"))
    return lambda: next(iterator, _END)


def _settle(outcomes: list[Outcome], on_error: OnError, label: str) -> Outcome:
    try:
        return Value(settle(Outcomes.gather(0, outcomes), on_error, label))
    except BaseException as error:
        return Failure(0, error)


def _keep(outcome: Outcome, state: State) -> Outcome:
    if isinstance(outcome, Value):
        state.result = outcome.result
    return outcome
