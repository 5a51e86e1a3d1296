"""What is reported before a flow runs, and what is not because it is not certain."""

from __future__ import annotations

from typing import Any

import pytest

from pocketflex.async_node import AsyncBatchNode, AsyncNode
from pocketflex.batch_flow import AsyncFlow, ParallelBatchFlow
from pocketflex.batch_node import BatchNode
from pocketflex.errors import FlowError
from pocketflex.flow import Flow
from pocketflex.models import run
from pocketflex.node import Node


class Quiet(Node):
    """Has nothing wrong."""


def problems(node: Any, *more: Any) -> str:
    flow = Flow(start=node)
    return "\n".join(flow.problems())


def connected(node: Any, action: str = "known") -> Any:
    node - action >> Quiet()
    return node


def test_a_sound_flow_has_no_problems() -> None:
    flow = Flow(start=Quiet).connect(Quiet, None)
    assert flow.problems() == []
    flow.validate()


def test_all_problems_are_listed_one_a_line() -> None:
    bad = Quiet()
    bad.max_retries = 0
    flow = Flow(start=bad).connect(Quiet(), Quiet())
    with pytest.raises(FlowError) as caught:
        flow.validate()
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert sum("cannot be reached" in line for line in lines) == 2
    assert sum("max_retries=0" in line for line in lines) == 1


def test_no_start() -> None:
    assert "no start" in "\n".join(Flow().problems())
    assert "no start" in problems(Flow())


def test_wrong_wait() -> None:
    node = Quiet()
    node.wait = -1
    assert "wait=-1" in problems(node)


@pytest.mark.parametrize("target", [5, Quiet, "node"])
def test_an_edge_to_no_node(target: Any) -> None:
    node = Quiet()
    node.successors["x"] = target
    assert "the edge 'x' leads to" in problems(node)


def test_an_unreachable_node_in_an_inner_flow() -> None:
    inner = Flow(start=Quiet).connect(Quiet(), None)
    assert "node Flow: node Quiet cannot be reached from the start" in problems(inner)


def test_cycles_and_flows_that_contain_themselves_terminate() -> None:
    a, b = Quiet(), Quiet()
    a >> b >> a
    flow = Flow(start=a)
    b - "x" >> flow
    assert flow.problems() == []


@pytest.mark.parametrize("phase", ["prep", "exec", "post", "exec_item", "exec_chunk", "exec_fallback"])
def test_async_def_in_a_sync_class(phase: str) -> None:
    async def coroutine(*args: Any) -> None: ...

    kind = type("Wrong", (BatchNode,), {phase: coroutine})
    assert f"{phase} is `async def`, but the class is not async: make it an AsyncBatchNode" in problems(kind())
    if not phase.startswith("exec_"):
        flow = type("WrongFlow", (Flow,), {phase: coroutine})(start=Quiet)
        assert "make it an AsyncFlow" in problems(flow)


class SyncExec(AsyncNode):
    def exec(self, prep_result: Any) -> None: ...


class SyncItem(AsyncBatchNode):
    def exec_item(self, item: Any) -> None: ...


class BothForms(AsyncBatchNode):
    def exec(self, item: Any) -> None: ...

    async def exec_item_async(self, item: Any) -> None: ...


def test_sync_exec_in_an_async_class() -> None:
    assert "exec is never called, as the class is async: name it exec_async" in problems(SyncExec())
    assert "exec_item is never called, as the class is async: name it exec_item_async" in problems(SyncItem())
    assert problems(BothForms()) == ""


class Two(Node):
    def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
        if shared:
            for _ in shared:
                return "known"
        try:
            return "lost", {**shared}
        except ValueError:
            return None


class Nested(Node):
    def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
        def inner() -> str:
            return "not an action"

        inner()
        return "known"


class Computed(Two):
    def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
        if shared:
            return "lost"
        return shared["action"]


class Falls(Node):
    def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:  # noqa: RET503  # what this is about
        if shared:
            return "known"


class AsyncPost(AsyncNode):
    async def post_async(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
        return "lost"


class AsyncSyncPost(AsyncNode):
    def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
        return "lost"


def test_dangling_actions_are_reported() -> None:
    found = problems(connected(Two()))
    assert "post returns 'lost', which has no edge; connect it, or declare an end: node - 'lost' >> None" in found
    assert "post returns 'default', which has no edge; connect it, or declare an end: node >> None" in found
    assert "'known'," not in found
    assert "returns 'lost'" in problems(connected(AsyncPost()))
    assert "returns 'lost'" in problems(connected(AsyncSyncPost()))


@pytest.mark.parametrize("kind", [Nested, Computed, Falls])
def test_what_is_not_certain_is_not_reported(kind: Any) -> None:
    assert problems(connected(kind())) == ""


def test_without_edges_or_source_nothing_is_reported() -> None:
    assert problems(Two()) == ""
    namespace: dict[str, Any] = {}
    exec("def post(self, shared, prep_result, exec_result):\n    return 'lost'", namespace)
    assert problems(connected(type("NoSource", (Node,), {"post": namespace["post"]})())) == ""
    patched = Quiet()
    patched.post = lambda *args: "lost"  # type: ignore[method-assign]
    assert problems(connected(patched)) == ""


def test_the_module_functions_validate_before_anything_runs() -> None:
    ran = []

    class Marks(Node):
        def exec(self, prep_result: Any) -> None:
            ran.append(1)

    marks = Marks()
    marks >> connected(Two())
    with pytest.raises(FlowError, match="dangling"):
        run(Flow(start=marks))
    assert ran == []


def test_a_parallel_batch_flow_takes_sync_nodes_only() -> None:
    flow = Flow(start=ParallelBatchFlow(start=AsyncFlow(start=AsyncNode())))
    with pytest.raises(FlowError, match="node ParallelBatchFlow: node AsyncNode is async"):
        run(flow)


def test_a_batch_node_that_does_nothing_with_its_items_is_refused() -> None:
    class Misspelt(BatchNode[Any, Any, Any]):
        def exec_itm(self, item: int) -> int:
            return item

    with pytest.raises(FlowError, match=r"Misspelt: it has no exec_item, so all of its results would be None"):
        run(Flow(start=Misspelt), {})


@pytest.mark.parametrize(
    ("base", "method", "remedy"),
    [
        (Node, "exec_item", "a BatchNode"),
        (Node, "exec_chunk", "a BatchNode"),
        (AsyncNode, "exec_item_async", "an AsyncBatchNode"),
        (AsyncNode, "exec_item", "an AsyncBatchNode"),
    ],
)
def test_a_node_with_a_method_for_items_that_is_no_batch_node_is_refused(base: Any, method: str, remedy: str) -> None:
    kind = type("Single", (base,), {method: lambda self, item: item})
    with pytest.raises(FlowError, match=f"Single: its {method} is never called, .* make it {remedy}"):
        Flow(start=kind).validate()
    computes = type("Computes", (base,), {method: lambda self, item: item, "exec": lambda self, given: given})
    if base is Node:  # it may call such a method itself
        Flow(start=computes).validate()
