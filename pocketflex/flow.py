"""`Flow`: nodes and the edges between them, and the short ways to build one.

A flow is a node: it has `prep` and `post`, and as the target of an edge it runs its own nodes. The
last action of an inner flow is what its `post` receives and, by default, the action of the flow.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from .errors import FlowError
from .node import BaseNode, Link, Posted, S, default
from .validation import check_node
from .walk import State, Walk, follow, label_of


class Flow(BaseNode[S, Any, Any]):
    """A graph of nodes with a start.

    A node class may stand for a node wherever a flow takes one: it is instantiated once per flow.

    Example:
        >>> from pocketflex import Node
        >>> class Greet(Node):
        ...     def post(self, shared, prep_result, exec_result):
        ...         return "done", {**shared, "text": f"hello {shared['name']}"}
        >>> shared = {"name": "Ada"}
        >>> Flow(start=Greet).run(shared)
        'done'
        >>> shared["text"]
        'hello Ada'
    """

    start_node: BaseNode[Any, Any, Any] | None = None
    _connected: dict[Any, BaseNode[Any, Any, Any]]  # by the class that stands for it, else by id

    def __init__(self, start: Any = None) -> None:
        """Make a flow that begins at `start`, a node or a node class."""
        super().__init__()
        if start is not None:
            self.start(start)

    def start(self, start: Any) -> Any:
        """Set the node that the flow begins with, and return it."""
        self.start_node = self._take(start, "the start of a flow")
        return self.start_node

    def connect(
        self, source: Any, target: Any, action: str = "default", *, raises: type[BaseException] | None = None
    ) -> Flow[S]:
        """Add an edge and return this flow.

        Args:
            source: A node or a node class.
            target: A node or a node class; None declares that the flow ends there.
            action: The action for which the edge is taken.
            raises: If given, the edge is taken when any phase of `source` fails with this exception,
                in place of an action. The exception is then in ``shared["error"]``. Of several
                such edges that with the class nearest to the exception's is taken.
        """
        taken = self._take(source, "the source of an edge")
        aim = None if target is None else self._take(target, "the target of an edge")
        if raises is None:
            taken.next(aim, action)
        elif isinstance(raises, type) and issubclass(raises, BaseException):
            taken.error_successors[raises] = aim
        else:
            raise TypeError(f"raises={raises!r}: it must be an exception class")
        return self

    @default
    def post(self, shared: S, prep_result: Any, exec_result: Any) -> Posted:
        """Return the action of this flow; by default the last action within it."""
        return exec_result  # type: ignore[no-any-return]

    def problems(self) -> list[str]:
        """What is wrong with this flow and the flows in it, one line each."""
        found: list[str] = []
        for node in reachable(self):
            found += node._flow_problems() if isinstance(node, Flow) else []
            found += check_node(node)
        return found

    def validate(self) -> None:
        """Check the flow without running it; the module functions do so before anything runs.

        Raises:
            FlowError: Something is wrong; the message lists all problems.
        """
        if found := self.problems():
            raise FlowError("\n".join(found))

    def to_mermaid(self) -> str:
        """This flow as a Mermaid diagram."""
        from .draw import to_mermaid

        return to_mermaid(self)

    def _repr_html_(self) -> str:
        from .draw import to_html

        return to_html(self)

    def _execute(self, prepared: Any, state: State) -> Walk:
        return (yield from follow(self.start_node, dict(self.params), state))

    def _flow_problems(self) -> Iterator[str]:
        if self.start_node is None:
            yield f"{label_of(self)} has no start: give it one with Flow(start=node)"
            return
        seen = {id(node) for node in reachable(self.start_node)}
        for node in self._members().values():
            if id(node) not in seen:
                yield f"{label_of(self)}: {label_of(node)} cannot be reached from the start"

    def _members(self) -> dict[Any, BaseNode[Any, Any, Any]]:
        members: dict[Any, BaseNode[Any, Any, Any]] = self.__dict__.setdefault("_connected", {})
        return members

    def _take(self, node: Any, role: str) -> BaseNode[Any, Any, Any]:
        members = self._members()
        if isinstance(node, type) and issubclass(node, BaseNode):
            if node not in members:
                members[node] = _instantiate(node)
            return members[node]
        if not isinstance(node, BaseNode):
            raise TypeError(f"{role} must be a node or a node class, not {type(node).__name__} ({node!r:.60})")
        members[id(node)] = node
        return node

    def _links(self) -> Iterator[Link]:
        yield from super()._links()
        if self.start_node is not None:
            yield "start_node", None, self.start_node

    def __copy__(self) -> Flow[S]:
        twin = type(self).__new__(type(self))  # not by __reduce_ex__, which would copy the whole graph
        twin.__dict__.update(self.__dict__)
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Flatten the graph: pickle recurses, and a long chain of nodes would exceed its depth."""
        nodes = reachable(self)
        numbers = {id(node): number for number, node in enumerate(nodes)}
        links = [
            (numbers[id(node)], attribute, key, numbers.get(id(target)))
            for node in nodes
            for attribute, key, target in node._links()
        ]
        if not links:
            return super().__reduce_ex__(protocol)
        return _rebuild, ([_shell(node) for node in nodes], links)


def _shell(node: BaseNode[Any, Any, Any]) -> BaseNode[Any, Any, Any]:
    bare: BaseNode[Any, Any, Any] = node._detached()
    if isinstance(bare, Flow):
        bare.start_node, bare._connected = None, {}
    return bare


def _rebuild(nodes: list[Any], links: list[tuple[int, str, Any, int | None]]) -> Any:
    for source, attribute, key, number in links:
        target = None if number is None else nodes[number]
        if attribute == "start_node":
            nodes[source].start_node = target
        else:
            getattr(nodes[source], attribute)[key] = target
    return nodes[0]


def _instantiate(kind: type[BaseNode[Any, Any, Any]]) -> BaseNode[Any, Any, Any]:
    try:
        inspect.signature(kind).bind()
    except TypeError as error:
        name = kind.__name__
        raise FlowError(f"{name} cannot stand for a node ({error}): pass an instance, {name}(...)") from None
    return kind()


def reachable(root: BaseNode[Any, Any, Any], *, into_flows: bool = True) -> list[BaseNode[Any, Any, Any]]:
    """`root` and every node that edges lead to, and unless told otherwise inner flows, each once, nearest first."""
    found = [root]
    seen = {id(root)}
    for node in found:  # grows while it is read
        for attribute, _, target in node._links():
            if attribute == "start_node" and not into_flows:
                continue
            if isinstance(target, BaseNode) and id(target) not in seen:
                seen.add(id(target))
                found.append(target)
    return found


def linear(*nodes: Any) -> Flow[Any]:
    """A flow that runs `nodes` (or node classes) in order."""
    flow: Flow[Any] = Flow()
    taken = [flow._take(node, "a node of linear()") for node in nodes]
    if len({id(node) for node in taken}) < len(taken):
        raise FlowError("linear() got the same node twice, which would be a loop: pass different instances")
    if not taken:
        raise FlowError("linear() needs at least one node")
    flow.start(taken[0])
    for source, target in pairwise(taken):
        flow.connect(source, target)
    return flow


def branch(node: Any, targets: Mapping[str, Any]) -> Flow[Any]:
    """A flow that begins with `node` and goes on to the target of the action that it returns."""
    flow: Flow[Any] = Flow(start=node)
    for action, target in targets.items():
        flow.connect(node, target, action)
    return flow


def with_error_handling(nodes: Iterable[Any], handler: Any) -> Flow[Any]:
    """A flow that runs `nodes` in order, and `handler` as soon as one of them fails.

    The exception is then in ``shared["error"]``.
    """
    chain = list(nodes)
    flow = linear(*chain)
    for node in chain:
        flow.connect(node, handler, raises=Exception)
    return flow
