"""Nodes and the operators that connect them.

A node has three phases, `prep(shared) -> exec(prep_result) -> post(shared, prep_result, exec_result)`;
`post` returns an action, and the flow follows the edge of that name. A node keeps no fact about
a run: one object may run many times at once. How a visit goes is described by `_visit` as commands
(see `walk`); who performs them, and in which process, no node knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from .call import Call
from .outcome import Failure, Outcome, Value, noted
from .retry import Retry, current_attempt, policy
from .walk import Attempt, Phase, State, Walk, label_of, warn_user

if TYPE_CHECKING:
    from typing_extensions import TypeVar as Defaulting  # a class without parameters stays legal under strict

    S = Defaulting("S", default=Any)
    P = Defaulting("P", default=Any)
    E = Defaulting("E", default=Any)
else:
    S, P, E = TypeVar("S"), TypeVar("P"), TypeVar("E")

Posted = str | None | tuple[str | None, Any]
Link = tuple[str, Any, Any]  # the attribute that holds the edge, its key, its target
F = TypeVar("F", bound=Callable[..., Any])


def default(function: F) -> F:
    """Mark a phase as the library's own: a visit need not hand it to a driver."""
    function.__dict__["_default"] = function  # itself, as functools.wraps copies this dict to other functions
    return function


def is_default(method: Any) -> bool:
    """Whether the user has not overridden `method`, neither in a class nor on the object."""
    function = getattr(method, "__func__", method)
    return getattr(function, "_default", None) is function


class _Own:
    """A class attribute that becomes each object's own dict when it is first read.

    So a subclass whose `__init__` forgets `super().__init__()` does not share edges with others.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, node: object | None, owner: type) -> Any:
        return self if node is None else node.__dict__.setdefault(self._name, {})


def _own() -> Any:  # Any: the attribute's declared type is that of the dict, not of the descriptor
    return _Own()


class BaseNode(Generic[S, P, E]):
    """The phases and the edges of a node, without retries; `Node` is what one derives from.

    Attributes:
        params: Given by the flow (see `BatchFlow`), the same for all nodes of one run.
        successors: The target of each action; None declares an end.
        error_successors: The target of each exception class that has an edge.
    """

    params: dict[str, Any] = _own()
    successors: dict[str, Any] = _own()
    error_successors: dict[type[BaseException], Any] = _own()
    _awaited = False
    _parallel = False

    @default
    def prep(self, shared: S) -> P:
        """Read what `exec` needs from the shared state."""
        return cast(P, None)

    @default
    def exec(self, prep_result: P) -> E:
        """Compute; without access to the shared state, so that it can be tried again."""
        return cast(E, None)

    @default
    def post(self, shared: S, prep_result: P, exec_result: E) -> Posted:
        """Write to the shared state and return the action, or ``(action, new_shared)``."""
        return None

    def set_params(self, params: dict[str, Any]) -> None:
        """Set the params; a flow does so for each of its nodes."""
        self.params = params

    def next(self, node: Any, action: str = "default") -> Any:
        """Add the edge for `action` and return its target; ``None`` declares that the flow ends there.

        Raises:
            TypeError: The target is neither a node nor None.
        """
        check_target(node)
        if action in self.successors:
            warn_user(f"Overwriting successor for action '{action}'")
        self.successors[action] = node
        return node

    def run(self, shared: S) -> Any:
        """Run this node alone, as PocketFlow does: `shared` is changed in place, the action returned."""
        from .models import run_in_place

        if self.successors:
            warn_user("Node won't run successors. Use Flow.")
        return run_in_place(self, shared)

    def __rshift__(self, other: Any) -> Any:
        return self.next(other)

    def __sub__(self, action: str) -> _Edge:
        if not isinstance(action, str):
            raise TypeError(f"an action must be a str, not {type(action).__name__}")
        return _Edge(self, action)

    def _visit(self, state: State) -> Walk:
        """Describe prep -> exec -> post; the outcome's result is the action."""
        prepared = yield from self._phase("prep", state.shared)
        if isinstance(prepared, Failure):
            return prepared
        executed = yield from self._execute(prepared.result, state)
        if isinstance(executed, Failure):
            return executed
        posted = yield from self._phase("post", state.shared, prepared.result, executed.result)
        if isinstance(posted, Failure):
            return posted
        return Value(state.rule.adopt(self, posted.result, state))

    def _phase(self, name: str, *args: Any) -> Walk:
        method = getattr(self, name)
        if is_default(method):
            return Value(method(*args))
        return noted((yield Phase(self, method, args)), f"{label_of(self)}, {name}")

    def _execute(self, prepared: Any, state: State) -> Walk:
        outcome: Outcome = Value(None)
        if not is_default(self._function()):
            outcome = yield Attempt(self, prepared)
        return self._finish(outcome, state)

    def _finish(self, outcome: Outcome, state: State) -> Outcome:
        if isinstance(outcome, Value):
            state.result = outcome.result
            return outcome
        return noted(outcome, f"{label_of(self)}, attempt {outcome.attempts}")

    def _function(self) -> Callable[[Any], Any]:
        return self.exec

    def _call(self) -> Any:  # a call.Call, or an AsyncCall where the node is awaited
        return Call(self._function())

    def _detached(self) -> Any:
        """A copy without edges: what a worker needs, however long the chain is that follows."""
        bare = copy(self)
        bare.successors, bare.error_successors = {}, {}
        return bare

    def _links(self) -> Iterator[Link]:
        for attribute in ("successors", "error_successors"):
            yield from ((attribute, key, target) for key, target in getattr(self, attribute).items())


class _Edge:
    """``node - "action"``, waiting for its ``>> target``."""

    def __init__(self, source: BaseNode[Any, Any, Any], action: str) -> None:
        self._source, self._action = source, action

    def __rshift__(self, target: Any) -> Any:
        return self._source.next(target, self._action)


class Node(BaseNode[S, P, E]):
    """A node that tries `exec` up to `max_retries` times, with `wait` seconds in between, or as `retry` says.

    Example:
        >>> class Double(Node):
        ...     def prep(self, shared):
        ...         return shared["n"]
        ...     def exec(self, n):
        ...         return 2 * n
        ...     def post(self, shared, n, doubled):
        ...         shared["n"] = doubled
        >>> shared = {"n": 21}
        >>> Double().run(shared)
        >>> shared
        {'n': 42}
    """

    max_retries: int = 1
    wait: float = 0
    retry: Retry | None = None

    def __init__(
        self, max_retries: int | None = None, wait: float | None = None, *, retry: Retry | None = None
    ) -> None:
        """Set how often `exec` is tried; what is not given is as the class says.

        Args:
            max_retries: Attempts in all, at least 1; by default 1.
            wait: Seconds between two attempts; by default 0.
            retry: In place of both, and more.

        Raises:
            OptionError: A value is wrong, or `retry` is not alone.
        """
        if retry is None and self.retry is not None and (max_retries is not None or wait is not None):
            self.retry = None
        elif retry is not None and max_retries is None and wait is None:  # what the class says otherwise holds no more
            max_retries, wait = Node.max_retries, Node.wait
        given = {"max_retries": max_retries, "wait": wait, "retry": retry}
        self.__dict__.update({name: value for name, value in given.items() if value is not None})
        policy(self.max_retries, self.wait, self.retry)  # refuses wrong values here, not at the first run

    @property
    def cur_retry(self) -> int:
        """The attempt that runs now, from 0; each item of a batch has its own count."""
        return current_attempt()

    @default
    def exec_fallback(self, prep_result: P, exc: Exception) -> E:
        """Give the result once every attempt has failed; by default the last exception is raised."""
        raise exc

    def _call(self) -> Any:
        fallback = None if is_default(self.exec_fallback) else self.exec_fallback
        return Call(self._function(), policy(self.max_retries, self.wait, self.retry), fallback)


def check_target(target: Any) -> None:
    """Raise TypeError unless `target` can be the end of an edge."""
    if isinstance(target, type):
        raise TypeError(
            f"{target.__name__} is a class: connect an instance, {target.__name__}(), or use flow.connect(...)"
        )
    if target is not None and not isinstance(target, BaseNode):
        raise TypeError(f"an edge leads to a node or to None, not to {type(target).__name__} ({target!r:.60})")
