"""The one walk through a flow, under every execution model.

    models, aio           a driver performs commands: in this process, in workers, on the event loop
      │  ▲
      │  │ Phase, Attempt, ForEach, Runs
      ▼  │
    a walk: a generator   `Flow` follows edges from visit to visit, a visit is prep -> exec -> post

A walk performs no I/O and runs none of the user's phases: it yields a command and is sent what became of
it, a `Value` or a `Failure`. It returns an outcome as well. Failures are sent and returned, never
thrown: a StopIteration that crosses a generator would turn into a RuntimeError, and an exception
of a user's node must arrive as itself.

Two rules tell the layers apart. `Lenient` is PocketFlow's: the shared dict is changed in place, an
unknown action warns and ends the flow. `Strict` is that of the module functions: what `post`
returns is checked, and an unknown action is an error.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Awaitable, Callable, Generator, Mapping, MutableMapping
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .errors import UnknownActionError
from .outcome import Failure, Outcome, Value
from .retry import Retry

if TYPE_CHECKING:
    from .node import BaseNode


@dataclass(frozen=True, slots=True)
class AsyncCall:
    """What is done with an item of an async node: `call.Call` with functions to await."""

    function: Callable[[Any], Awaitable[Any]]
    retry: Retry = field(default_factory=Retry)
    fallback: Callable[[Any, Exception], Awaitable[Any]] | None = None
    seed: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether an item is one bare call of `function`: no retry, no fallback, no seed."""
        return self.retry.attempts == 1 and self.fallback is None and self.seed is None

    def item_of(self, one: Any, index: int) -> Any:
        """The one item of a list."""
        return one[0]

    def replay(self, one: Any, index: int = 0) -> Awaitable[Any]:
        """Call the function with the one item of a list; what it gives is to be awaited."""
        return self.function(one[0]) if self.seed is None else self._replay_drawing(self.seed, index, one[0])

    async def _replay_drawing(self, seed: int, index: int, item: Any) -> Any:
        from .seeds import drawing_own  # late: nobody else needs it

        with drawing_own(seed, index):
            return await self.function(item)


@dataclass(frozen=True, slots=True)
class Phase:
    """Call one function of a node, such as its `prep`, once."""

    node: BaseNode[Any, Any, Any]
    function: Callable[..., Any]
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """Run a node's `exec` on one item, with its retries and its fallback."""

    node: BaseNode[Any, Any, Any]
    item: Any


@dataclass(frozen=True, slots=True)
class ForEach:
    """Run a batch node's `exec_item` on each of the items; the value is the list of results."""

    node: BaseNode[Any, Any, Any]
    items: Any


@dataclass(frozen=True, slots=True)
class Runs:
    """Run a batch flow once for each params dict, side by side; the value is the list of results."""

    node: BaseNode[Any, Any, Any]
    items: Any
    state: State


Command = Phase | Attempt | ForEach | Runs
Walk = Generator[Command, Outcome, Outcome]


@dataclass(slots=True)
class State:
    """What one run carries from visit to visit; it lives outside the nodes.

    Attributes:
        shared: The shared state as the next node gets it.
        rule: What `post` may return, and what an unknown action does.
        given: The options of the call.
        result: What `exec` of the last node visited returned.
    """

    shared: Any
    rule: Rule
    given: Mapping[str, Any] = field(default_factory=dict)
    result: Any = None


class Rule(Protocol):
    """Where the class layer and the module functions differ."""

    def adopt(self, node: BaseNode[Any, Any, Any], returned: Any, state: State) -> Any:
        """Take what `post` of `node` returned into `state`; the action is left."""

    def miss(self, node: BaseNode[Any, Any, Any], action: Any) -> None:
        """Object to an action that has no edge although the node has others."""


class Lenient:
    """PocketFlow's rule: any action, and an unknown one ends the flow with a warning."""

    def adopt(self, node: BaseNode[Any, Any, Any], returned: Any, state: State) -> Any:
        """Take a new shared state over into the caller's own dict, in place."""
        action, replaced = split_posted(returned)
        if replaced is not None and replaced is not state.shared and isinstance(state.shared, MutableMapping):
            entries = dict(replaced)  # first, as `replaced` may be a view of the dict that is cleared
            state.shared.clear()
            state.shared.update(entries)
        return action

    def miss(self, node: BaseNode[Any, Any, Any], action: Any) -> None:
        """Warn, in PocketFlow's words."""
        warn_user(f"Flow ends: '{action}' not found in {list(node.successors)}")


class Strict:
    """The rule of the module functions."""

    def adopt(self, node: BaseNode[Any, Any, Any], returned: Any, state: State) -> Any:
        """Replace the shared state; the nodes after this one get a dict of their own."""
        action, replaced = split_posted(returned)
        if action is not None and not isinstance(action, str):
            raise TypeError(
                f"{label_of(node)}: post returned {returned!r:.80}; it must return an action (a str or None) "
                "or a tuple (action, new_shared) with a mapping as new_shared"
            )
        if replaced is not None and replaced is not state.shared:
            state.shared = dict(replaced)
        return action

    def miss(self, node: BaseNode[Any, Any, Any], action: Any) -> None:
        """Raise UnknownActionError with the known actions and the remedy."""
        wanted = action or "default"
        end = "node >> None" if wanted == "default" else f"node - {wanted!r} >> None"
        raise UnknownActionError(
            f"{label_of(node)}: post returned the action {wanted!r}, which has no edge; known are "
            f"{', '.join(map(repr, node.successors))}. Connect it, or declare that the flow ends there: {end}"
        )


def follow(start: BaseNode[Any, Any, Any] | None, params: dict[str, Any], state: State) -> Walk:
    """Visit node after node from `start`; the outcome's result is the last action.

    Each visit is of a copy, so that what a node keeps on itself belongs to that visit alone.
    """
    node, action = start, None
    while node is not None:
        visited = copy(node)
        visited.set_params(params)
        outcome = yield from visited._visit(state)
        if isinstance(outcome, Failure):
            known, target = _edge_for(node, outcome.error)
            if not known:
                return outcome
            state.shared["error"] = outcome.error
            node, action = target, None
        else:
            action = outcome.result
            node = _next(node, action, state.rule)
    return Value(action)


def _next(node: BaseNode[Any, Any, Any], action: Any, rule: Rule) -> BaseNode[Any, Any, Any] | None:
    if not node.successors:
        return None  # the end of every path: any action will do
    wanted = action or "default"
    if wanted not in node.successors:
        rule.miss(node, action)
    return node.successors.get(wanted)


def _edge_for(node: BaseNode[Any, Any, Any], error: BaseException) -> tuple[bool, BaseNode[Any, Any, Any] | None]:
    """Whether a `raises` edge fits, and its target; the class nearest to the error's own wins."""
    fitting = [kind for kind in node.error_successors if isinstance(error, kind)]
    if not fitting:
        return False, None
    order = type(error).__mro__
    nearest = min(fitting, key=lambda kind: order.index(kind) if kind in order else len(order))
    return True, node.error_successors[nearest]


def split_posted(returned: Any) -> tuple[Any, Mapping[str, Any] | None]:
    """Split what `post` returned into the action and, if there is one, the new shared state."""
    if isinstance(returned, tuple) and len(returned) == 2:
        action, replaced = returned
        if (action is None or isinstance(action, str)) and isinstance(replaced, Mapping):
            return action, replaced
    return returned, None


def label_of(node: object) -> str:
    """How messages name a node: by the `name` that the user gave it, else by its class."""
    name = getattr(node, "name", None)
    return f"node {name}" if isinstance(name, str) and name else f"node {type(node).__name__}"


def warn_user(message: str) -> None:
    """Warn at the nearest line of the call stack that is not in this package."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


_PACKAGE = str(Path(__file__).parent)
