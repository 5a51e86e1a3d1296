"""The sync models: `run`, `run_batch`, `run_parallel_batch`.

They differ in one word: which batches run in worker processes. All of them check the flow and
the options before anything runs, work on a copy of the caller's dict and return the final shared state.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from .async_node import AsyncNode
from .batch_flow import BatchFlow, ParallelBatchFlow
from .batch_node import BatchNode
from .drive import SPREADS, Setting, drive, unwrap
from .errors import FlowError
from .executors import find_executor
from .flow import Flow, reachable
from .journal.shelf import Shelf
from .node import BaseNode
from .observe.report import Report
from .options import BatchOptions
from .walk import Lenient, State, Strict, label_of

_ASYNC_NAMES = {"run": "run_async", "batch": "run_async_batch", "parallel-batch": "run_async_parallel_batch"}


def run(flow: Any, shared: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """Run a flow; batch nodes in order in this process, those of the Parallel classes in worker processes.

    Args:
        flow: A flow, or a node: then the flow that begins with it.
        shared: What the nodes read and write. The dict itself is not changed; the objects in it are
            not copied.
        **options: See `BatchOptions`; they win over the attributes of the nodes.

    Returns:
        The final shared state.

    Raises:
        TypeError: `flow` is not a flow or node, or a node returned what it must not.
        FlowError: The flow cannot run as it is built, or has async nodes; nothing has run.
        OptionError: An option does not exist or has a wrong value; nothing has run.
        UnknownActionError: A node returned an action that has no edge.

    What a node raises arrives as itself, with a note that names the node, and, of an item, its index.

    Example:
        >>> import pocketflex as pf
        >>> class Squares(pf.BatchNode):
        ...     def prep(self, shared):
        ...         return shared["numbers"]
        ...     def exec_item(self, n):
        ...         return n * n
        ...     def post(self, shared, numbers, squares):
        ...         return "done", {**shared, "squares": squares}
        >>> pf.run(pf.Flow(start=Squares), {"numbers": [1, 2, 3]})
        {'numbers': [1, 2, 3], 'squares': [1, 4, 9]}
    """
    return execute(flow, shared, "run", options, Report())


def run_batch(flow: Any, shared: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """Run a flow; every batch node in order in this process, whatever its class.

    The model to debug with: same answer, same exceptions, same order as in the others. Arguments,
    result and exceptions are those of `run`.

    Example:
        >>> import pocketflex as pf
        >>> class Lengths(pf.ParallelBatchNode):
        ...     def prep(self, shared):
        ...         return shared["words"]
        ...     def exec_item(self, word):
        ...         return len(word)
        ...     def post(self, shared, words, lengths):
        ...         return "done", {**shared, "lengths": lengths}
        >>> pf.run_batch(pf.Flow(start=Lengths), {"words": ["a", "bc"]})["lengths"]
        [1, 2]
    """
    return execute(flow, shared, "batch", options, Report())


def run_parallel_batch(flow: Any, shared: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """Run a flow; every batch node on all cores, in worker processes, or where `executor` says.

    `exec_item` runs on a copy of the node: what it changes there is lost, what it returns arrives. The runs
    of a `BatchFlow` stay in order in this process, as they share `shared`; those of a `ParallelBatchFlow` do not.
    Arguments, result and exceptions are those of `run`.

    Example:
        >>> import pocketflex as pf
        >>> class Squares(pf.BatchNode):
        ...     def prep(self, shared):
        ...         return range(shared["n"])
        ...     def exec_item(self, n):
        ...         return n * n
        ...     def post(self, shared, items, squares):
        ...         return "done", {**shared, "sum": sum(squares)}
        >>> pf.run_parallel_batch(pf.Flow(start=Squares), {"n": 1000}, executor="threads")["sum"]
        332833500
    """
    return execute(flow, shared, "parallel-batch", options, Report())


def execute(
    flow: Any, shared: Mapping[str, Any] | None, model: str, options: Mapping[str, Any], report: Report
) -> dict[str, Any]:
    """Run `flow` under a sync model, by its name, and add a record of each batch to `report`."""
    ready = check_call(flow, options)
    for node in reachable(ready):
        if isinstance(node, AsyncNode):
            raise FlowError(f"{label_of(node)} is async: use `await pf.{_ASYNC_NAMES[model]}(...)`")
    state = State(own_shared(shared), Strict(), options)
    with closing(Shelf()) as shelf:
        open_early(options, shelf)
        unwrap(drive(ready._visit(state), Setting(SPREADS[model], options, report, shelf)))
    result: dict[str, Any] = state.shared
    return result


def run_in_place(node: BaseNode[Any, Any, Any], shared: Any) -> Any:
    """Run a node or flow in PocketFlow's way: `shared` is changed in place, the action returned."""
    with closing(Shelf()) as shelf:
        return unwrap(drive(node._visit(State(shared, Lenient())), Setting(shelf=shelf)))


def open_early(options: Mapping[str, Any], shelf: Shelf) -> None:
    """Open the journal of a call, if it has one, before anything runs.

    Raises:
        JournalError: It cannot be used.
    """
    if options.get("resume") is not None:
        shelf.take(options["resume"])


def check_call(flow: Any, options: Mapping[str, Any]) -> Flow[Any]:
    """Check a flow and the options of a call, before anything runs.

    Raises:
        TypeError: `flow` is not a flow, a node or a class of one.
        FlowError: The flow cannot run as it is built.
        OptionError: An option of the call or of a node is wrong.
    """
    ready = _as_flow(flow)
    problems = ready.problems()
    for node in reachable(ready):
        if isinstance(node, ParallelBatchFlow):
            problems += _async_inside(node)
    if problems:
        raise FlowError("\n".join(problems))
    for batch in [None, *(node for node in reachable(ready) if isinstance(node, BatchNode | BatchFlow))]:
        resolved = BatchOptions.resolve(options, batch)
        if resolved.executor != "processes":  # the default exists; looking it up would import it
            find_executor(resolved.executor)
    return ready


def own_shared(shared: Mapping[str, Any] | None) -> dict[str, Any]:
    """A dict of the run's own with the caller's entries."""
    if shared is not None and not isinstance(shared, Mapping):
        raise TypeError(f"shared must be a dict or None, not {type(shared).__name__} ({shared!r:.60})")
    return dict(shared or {})


def _as_flow(flow: Any) -> Flow[Any]:
    if isinstance(flow, Flow):
        return flow
    if isinstance(flow, BaseNode):
        alone: Flow[Any] = Flow(start=flow)
        alone.set_params(flow.params)
        return alone
    if isinstance(flow, type) and issubclass(flow, BaseNode):
        return Flow(start=flow)
    raise TypeError(f"pass a pocketflex Flow or a node, not {type(flow).__name__} ({flow!r:.60})")


def _async_inside(flow: ParallelBatchFlow[Any]) -> list[str]:
    inner = reachable(flow.start_node) if flow.start_node is not None else []
    return [
        f"{label_of(flow)}: {label_of(node)} is async, and workers run sync nodes only: use an AsyncParallelBatchFlow"
        for node in inner
        if isinstance(node, AsyncNode)
    ]
