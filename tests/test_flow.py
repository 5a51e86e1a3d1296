"""Flows: edges, helpers, nesting, pickling, and both layers' rules."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest

from pocketflex.errors import FlowError, UnknownActionError
from pocketflex.flow import Flow, branch, linear, reachable, with_error_handling
from pocketflex.models import run
from pocketflex.node import Node


class Step(Node):
    """Appends its name to ``shared["path"]`` and returns its action."""

    def __init__(self, name: str = "step", action: Any = None) -> None:
        super().__init__()
        self.name, self.action = name, action

    def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
        shared.setdefault("path", []).append(self.name)
        return self.action


class First(Step):
    def __init__(self) -> None:
        super().__init__("first")


class Second(Step):
    def __init__(self) -> None:
        super().__init__("second")


class Needs(Node):
    def __init__(self, thing: int) -> None:
        super().__init__()


class Fails(Node):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def exec(self, prep_result: Any) -> None:
        raise self.error


def path(flow: Any) -> list[str]:
    return list(run(flow)["path"])


def test_start_returns_the_node_and_flow_begins_there() -> None:
    flow, a = Flow(), Step("a")
    assert flow.start(a) is a
    assert flow.start_node is a
    assert path(flow) == ["a"]


def test_connect_returns_the_flow_and_instantiates_a_class_once() -> None:
    flow = Flow(start=First)
    assert flow.connect(First, Second) is flow
    assert path(flow) == ["first", "second"]
    assert len(reachable(flow)) == 3


def test_a_class_that_needs_arguments_is_refused() -> None:
    with pytest.raises(FlowError, match=r"Needs .*'thing'.*pass an instance, Needs\(...\)"):
        Flow(start=Needs)


@pytest.mark.parametrize("wrong", [5, "a", int])
def test_not_a_node_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="the start of a flow must be a node"):
        Flow(start=wrong)
    with pytest.raises(TypeError, match="the target of an edge must be a node"):
        Flow().connect(First, wrong)


def test_branch_and_linear() -> None:
    left, right = Step("left"), Step("right")
    assert path(branch(Step("b", "l"), {"l": left, "r": right})) == ["b", "left"]
    assert path(linear(First, Second, Step("third"))) == ["first", "second", "third"]
    with pytest.raises(FlowError, match="twice"):
        linear(First, Second, First)
    with pytest.raises(FlowError, match="at least one"):
        linear()


def test_an_inner_flows_last_action_routes_the_outer() -> None:
    inner = linear(Step("i1"), Step("i2", "go"))
    outer = Flow(start=inner)
    inner - "go" >> Step("after")
    assert path(outer) == ["i1", "i2", "after"]


def test_a_falsy_node_does_not_end_the_flow() -> None:
    class Empty(Step):
        def __len__(self) -> int:
            return 0

    assert path(linear(Empty("a"), Empty("b"), Step("c"))) == ["a", "b", "c"]


def test_a_node_may_loop() -> None:
    class Count(Node):
        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
            shared["n"] += 1
            return "again" if shared["n"] < 5 else "stop"

    node = Count()
    node - "again" >> node
    node - "stop" >> None
    assert run(Flow(start=node), {"n": 0}) == {"n": 5}


# --- the class layer


def test_unknown_action_warns_and_ends_at_the_callers_line() -> None:
    a = Step("a", "lost")
    a - "known" >> Step("b")
    shared: dict[str, Any] = {}
    with pytest.warns(UserWarning, match=r"Flow ends: 'lost' not found in \['known'\]") as caught:
        assert Flow(start=a).run(shared) == "lost"
    assert caught[0].filename == __file__
    assert shared == {"path": ["a"]}


def test_a_declared_end_is_silent_in_both_layers() -> None:
    a = Step("a", "done")
    a - "done" >> None
    flow = Flow(start=a)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert flow.run({}) == "done"
    assert path(flow) == ["a"]


def test_new_shared_updates_the_callers_dict_in_place() -> None:
    class Replaces(Node):
        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
            return "go", {"b": shared["a"]}

    shared = {"a": 1}
    assert Flow(start=Replaces()).run(shared) == "go"
    assert shared == {"b": 1}


# --- the module functions


def test_unknown_action_is_an_error_with_the_remedy() -> None:
    a = Step("a", "lost")
    a - "known" >> Step("b")
    with pytest.raises(UnknownActionError, match=r"node a: .*'lost'.*'known'.*node - 'lost' >> None"):
        run(Flow(start=a))
    b = Step("b")
    b - "known" >> Step("c")
    with pytest.raises(UnknownActionError, match="node >> None"):
        run(Flow(start=b))


def test_a_node_without_edges_may_return_any_action() -> None:
    assert path(Step("a", "whatever")) == ["a"]


# --- raises edges


def test_the_nearest_exception_class_wins_and_the_error_is_shared() -> None:
    error = KeyError("k")
    node = Fails(error)
    flow = Flow(start=node)
    for kind, name in ((Exception, "exception"), (LookupError, "lookup"), (OSError, "os")):
        flow.connect(node, Step(name), raises=kind)
    shared = run(flow)
    assert shared["path"] == ["lookup"]
    assert shared["error"] is error


def test_an_error_without_a_fitting_edge_passes() -> None:
    node = Fails(OSError("disk"))
    with pytest.raises(OSError, match="disk"):
        run(Flow(start=node).connect(node, None, raises=LookupError))


def test_a_raises_edge_may_declare_an_end_in_the_class_layer_too() -> None:
    node = Fails(OSError("disk"))
    shared: dict[str, Any] = {}
    assert Flow(start=node).connect(node, None, raises=OSError).run(shared) is None
    assert isinstance(shared["error"], OSError)


def test_an_inner_flow_can_have_a_raises_edge() -> None:
    inner = linear(Step("a"), Fails(ValueError("x")), Step("never"))
    shared = run(Flow(start=inner).connect(inner, Step("rescue"), raises=ValueError))
    assert shared["path"] == ["a", "rescue"]


@pytest.mark.parametrize("wrong", [ValueError("x"), int, "ValueError"])
def test_raises_is_an_exception_class(wrong: Any) -> None:
    with pytest.raises(TypeError, match="raises="):
        Flow().connect(First, Second, raises=wrong)


def test_with_error_handling() -> None:
    flow = with_error_handling([Step("a"), Fails(ValueError("x")), Step("b")], Step("handler"))
    assert path(flow) == ["a", "handler"]
    assert path(with_error_handling([First, Second], Step("handler"))) == ["first", "second"]


# --- carrying flows


def test_a_long_chain_can_be_pickled_and_copied() -> None:
    flow = Flow(start=linear(*(Step(str(n)) for n in range(3000))))
    expected = [str(n) for n in range(3000)]
    assert path(pickle.loads(pickle.dumps(flow))) == expected
    assert path(copy.deepcopy(flow)) == expected


def test_pickling_keeps_loops_ends_and_raises_edges() -> None:
    a, b = Step("a", "b"), Step("b", "end")
    flow = Flow(start=a).connect(a, b, "b").connect(b, a, "a").connect(b, None, "end").connect(a, b, raises=OSError)
    twin = pickle.loads(pickle.dumps(flow))
    start = twin.start_node
    other = start.successors["b"]
    assert other.successors == {"a": start, "end": None}
    assert start.error_successors == {OSError: other}
    assert path(twin) == ["a", "b"]


def test_a_shallow_copy_shares_the_nodes() -> None:
    flow = linear(First, Second)
    assert copy.copy(flow).start_node is flow.start_node


def test_one_flow_object_may_run_inside_itself_at_the_same_time() -> None:
    class Recurse(Node):
        def exec(self, prep_result: Any) -> Any:
            depth = self.params.get("depth", 0)
            if depth < 3:
                inner = copy.copy(flow)
                inner.set_params({"depth": depth + 1})
                inner.run({})
            seen.append(depth)
            return None

    seen: list[int] = []
    flow = Flow(start=Recurse())
    flow.run({})
    assert seen == [3, 2, 1, 0]
