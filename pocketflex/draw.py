"""A flow as a picture: Mermaid text, and HTML for notebooks that needs neither network nor script."""

from __future__ import annotations

from html import escape
from typing import Any

from .flow import Flow, reachable
from .node import BaseNode, Link
from .walk import label_of

_MERMAID = str.maketrans({
    "&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "#": "#35;", "`": "#96;", "\n": " ",
})  # fmt: skip


def to_mermaid(flow: Flow[Any]) -> str:
    """The Mermaid source of `flow`: solid edges are actions, dotted ones are `raises` edges."""
    return "\n".join(["graph LR", *_Drawing(flow).lines])


def to_html(flow: Flow[Any]) -> str:
    """A table of the edges of `flow` and of the flows in it, and its Mermaid source to copy."""
    rows = [
        f"<tr><td>{escape(name_of(node))}</td><td>{escape(_action(link))}</td><td>{escape(_target(link))}</td></tr>"
        for node in reachable(flow)
        for link in node._links()
    ]
    head = "<tr><th>node</th><th>action</th><th>next</th></tr>"
    source = f"<details><summary>Mermaid</summary><pre>{escape(to_mermaid(flow))}</pre></details>"
    return f"<b>{escape(name_of(flow))}</b><table>{head}{''.join(rows)}</table>{source}"


def name_of(node: object) -> str:
    """The node's name as a picture shows it."""
    return label_of(node).removeprefix("node ")


class _Drawing:
    """The lines of one picture; every node and every inner flow is drawn once."""

    def __init__(self, flow: Flow[Any]) -> None:
        self.lines: list[str] = []
        self._ids: dict[int, str] = {}
        self._ends = 0
        self._inner(flow, "    ")

    def _inner(self, flow: Flow[Any], indent: str) -> None:
        nodes = reachable(flow.start_node, into_flows=False) if flow.start_node is not None else []
        new = [node for node in nodes if id(node) not in self._ids]
        for node in new:
            self._ids[id(node)] = f"n{len(self._ids)}"
        for node in new:
            self._declare(node, indent)
        for node in new:
            for link in node._links():
                self._edge(self._ids[id(node)], link, indent)

    def _declare(self, node: BaseNode[Any, Any, Any], indent: str) -> None:
        name, label = self._ids[id(node)], name_of(node).translate(_MERMAID)
        if isinstance(node, Flow) and node.start_node is not None:
            self.lines.append(f'{indent}subgraph {name}["{label}"]')
            self._inner(node, indent + "    ")
            self.lines.append(f"{indent}end")
        else:
            self.lines.append(f'{indent}{name}["{label}"]')

    def _edge(self, source: str, link: Link, indent: str) -> None:
        kind, action, target = link
        if kind == "start_node":
            return
        arrow = "-.->" if kind == "error_successors" else "-->"
        text = "" if action == "default" else f'|"{_action(link).translate(_MERMAID)}"|'
        aim = self._ids.get(id(target), "")
        if target is None:
            aim = f"end{self._ends}((end))"
            self._ends += 1
        if aim:
            self.lines.append(f"{indent}{source} {arrow}{text} {aim}")


def _action(link: Link) -> str:
    kind, action, _ = link
    if kind == "start_node":
        return "(start)"
    return f"raises {action.__name__}" if kind == "error_successors" else str(action)


def _target(link: Link) -> str:
    target = link[2]
    return "(end)" if target is None else name_of(target)
