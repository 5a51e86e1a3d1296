"""Flows as pictures."""

from __future__ import annotations

from typing import Any

from pocketflex.flow import Flow
from pocketflex.node import Node


class Step(Node):
    def __init__(self, name: str = "") -> None:
        super().__init__()
        self.name = name


def test_mermaid() -> None:
    a, b, inside = Step("a"), Step("b"), Step("inside")
    inner = Flow(start=inside)
    flow = Flow(start=a).connect(a, b).connect(b, inner, "in").connect(a, b, raises=OSError).connect(b, None, "end")
    assert flow.to_mermaid().splitlines() == [
        "graph LR",
        '    n0["a"]',
        '    n1["b"]',
        '    subgraph n2["Flow"]',
        '        n3["inside"]',
        "    end",
        "    n0 --> n1",
        '    n0 -.->|"raises OSError"| n1',
        '    n1 -->|"in"| n2',
        '    n1 -->|"end"| end0((end))',
    ]


def test_names_and_actions_are_escaped() -> None:
    a = Step('say "hi" <b>')
    a - 'x"|y' >> Step("b")
    source = Flow(start=a).to_mermaid()
    assert '["say #quot;hi#quot; #lt;b#gt;"]' in source
    assert '|"x#quot;|y"|' in source
    html = Flow(start=a)._repr_html_()
    assert "say &quot;hi&quot; &lt;b&gt;" in html
    assert "<b>a" not in html
    assert "<script" not in html


def test_loops_and_empty_flows_are_drawn() -> None:
    a = Step("a")
    a >> a
    assert "n0 --> n0" in Flow(start=a).to_mermaid()
    assert Flow().to_mermaid() == "graph LR"
    assert "<table>" in Flow()._repr_html_()


def test_a_flow_inside_itself_is_drawn_once() -> None:
    flow: Flow[Any] = Flow()
    a = Step("a")
    flow.start(a)
    a >> flow
    assert flow.to_mermaid().count("subgraph") == 1
