"""The node classes and the operators."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise
from typing import Any

import pytest

from pocketflex.async_node import AsyncBatchNode, AsyncNode, AsyncParallelBatchNode
from pocketflex.batch_node import BatchNode, ParallelBatchNode
from pocketflex.errors import FlowError, OptionError
from pocketflex.flow import Flow
from pocketflex.node import BaseNode, Node
from pocketflex.walk import AsyncCall

ALL = [BaseNode, Node, BatchNode, ParallelBatchNode, AsyncNode, AsyncBatchNode, AsyncParallelBatchNode]


class Double(Node):
    def prep(self, shared: Any) -> Any:
        return shared["n"]

    def exec(self, prep_result: Any) -> Any:
        return 2 * prep_result

    def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
        shared["n"] = exec_result
        return "doubled"


class Items(BatchNode):
    def prep(self, shared: Any) -> Any:
        return shared["items"]

    def exec_item(self, item: Any) -> Any:
        return item + 1

    def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
        shared["results"] = exec_result


@pytest.mark.parametrize("kind", ALL)
def test_classes_are_subscriptable_and_nodes_hashable(kind: Any) -> None:
    node = kind[dict, int, str]()
    assert node in {node}
    assert node.params == node.successors == node.error_successors == {}


def test_run_changes_the_dict_in_place_and_returns_the_action() -> None:
    shared = {"n": 4}
    assert Double().run(shared) == "doubled"
    assert shared == {"n": 8}


def test_run_with_successors_warns_at_the_callers_line() -> None:
    node = Double()
    node >> Double()
    with pytest.warns(UserWarning, match="Node won't run successors") as caught:
        node.run({"n": 1})
    assert caught[0].filename == __file__


def test_operators_and_next_return_the_target() -> None:
    a, b, c = Double(), Double(), Double()
    assert a >> b is b
    assert a - "x" >> c is c
    assert (a - "end" >> None) is None
    assert a.successors == {"default": b, "x": c, "end": None}
    assert b.next(c, "y") is c


def test_overwriting_an_edge_warns() -> None:
    a = Double()
    a >> Double()
    with pytest.warns(UserWarning, match="Overwriting successor for action 'default'"):
        a >> Double()


@pytest.mark.parametrize(("target", "message"), [(Double, "Double is a class"), (7, "not to int"), ("x", "not to str")])
def test_an_edge_to_no_node_is_refused(target: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Double() >> target


def test_an_action_is_a_str() -> None:
    with pytest.raises(TypeError, match="an action must be a str"):
        Double() - 5  # type: ignore[operator]


def test_a_subclass_that_forgets_super_init_has_edges_of_its_own() -> None:
    class Forgets(Node):
        def __init__(self) -> None:
            self.x = 1

    first, second = Forgets(), Forgets()
    first >> second
    first.params["k"] = 1
    assert second.successors == {}
    assert second.params == {}
    assert (first.max_retries, first.wait) == (1, 0)
    first.run({}) if not first.successors else None


@pytest.mark.parametrize("wrong", [{"max_retries": 0}, {"max_retries": 1.5}, {"wait": -1}])
def test_wrong_retries_are_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Node(**wrong)


def test_retries_of_the_class_hold_unless_the_object_says_otherwise() -> None:
    class Stubborn(Node):
        max_retries = 3

    assert Stubborn().max_retries == 3
    assert Stubborn(max_retries=1).max_retries == 1


def test_methods_are_looked_up_on_the_object() -> None:
    node = Double()
    node.exec = lambda n: n + 100  # type: ignore[method-assign]
    shared = {"n": 1}
    node.run(shared)
    assert shared["n"] == 101
    batch = Items()
    batch.exec_item = lambda item: -item  # type: ignore[method-assign]
    shared = {"items": [1, 2]}
    batch.run(shared)
    assert shared["results"] == [-1, -2]


def test_retries_then_fallback() -> None:
    seen = []

    class Fails(Node):
        def prep(self, shared: Any) -> str:
            return "p"

        def exec(self, prep_result: Any) -> Any:
            seen.append(self.cur_retry)
            raise ValueError("no")

        def exec_fallback(self, prep_result: Any, exc: Exception) -> Any:
            return prep_result, str(exc)

        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> None:
            shared["result"] = exec_result

    shared: dict[str, Any] = {}
    Fails(max_retries=3).run(shared)
    assert seen == [0, 1, 2]
    assert shared["result"] == ("p", "no")


def test_cur_retry_survives_a_flow_run_inside_exec() -> None:
    seen = []

    class Inner(Node):
        def exec(self, prep_result: Any) -> None:
            return None

    class Outer(Node):
        def exec(self, prep_result: Any) -> None:
            Flow(start=Inner()).run({})
            seen.append(self.cur_retry)
            raise ValueError

    with pytest.raises(ValueError, match="attempt 2"):
        Outer(max_retries=2).run({})
    assert seen == [0, 1]


def test_a_failure_names_node_and_attempt() -> None:
    class Fails(Node):
        name = "the loader"

        def exec(self, prep_result: Any) -> None:
            raise KeyError("k")

    with pytest.raises(KeyError) as caught:
        Fails(max_retries=2).run({})
    assert caught.value.__notes__ == ["node the loader, attempt 2"]


def test_batch_fallback_is_per_item_and_in_the_call_only_when_overridden() -> None:
    class Halves(BatchNode):
        def prep(self, shared: Any) -> Any:
            return [2, 3]

        def exec_item(self, item: int) -> int:
            if item % 2:
                raise ValueError(item)
            return item // 2

        def exec_fallback(self, prep_result: int, exc: Exception) -> Any:
            return f"{prep_result}: {exc}"

        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> None:
            shared["results"] = exec_result

    shared: dict[str, Any] = {}
    Halves().run(shared)
    assert shared["results"] == [1, "3: 3"]
    assert Items()._call().fallback is None
    assert Items()._call().chunk is None
    assert Items()._call().is_plain


def test_exec_is_the_item_function_by_default() -> None:
    class Old(BatchNode):
        def exec(self, item: Any) -> Any:
            return item * 10

    node = Old()
    assert node._call().function == node.exec
    assert node.exec_item(2) == 20


def test_exec_on_a_batch_node_sees_what_it_left_on_self_in_post() -> None:
    class Counts(BatchNode):
        count = 0

        def prep(self, shared: Any) -> Any:
            return range(3)

        def exec_item(self, item: Any) -> None:
            self.count += 1

        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> None:
            shared["count"] = self.count

    shared: dict[str, Any] = {}
    Flow(start=Counts()).run(shared)
    assert shared["count"] == 3


def test_what_a_worker_gets_has_no_edges_however_long_the_chain() -> None:
    nodes = [Items() for _ in range(5000)]
    for source, target in pairwise(nodes):
        source >> target
        source.error_successors[ValueError] = target
    assert len(pickle.dumps(nodes[0]._detached()._call())) < 1000
    assert nodes[0].successors


def test_a_copy_shares_edges_and_has_its_own_attributes() -> None:
    node = Double()
    node >> Double()
    twin = copy.copy(node)
    twin.set_params({"a": 1})
    assert node.params == {}
    assert twin.successors is node.successors


def test_an_async_node_refuses_run() -> None:
    with pytest.raises(FlowError, match=r"node AsyncNode is async: .*run_async"):
        AsyncNode().run({})


def test_async_fallback_is_in_the_call_if_either_form_is_overridden() -> None:
    class Sync(AsyncNode):
        def exec_fallback(self, prep_result: Any, exc: Exception) -> Any:
            return None

    class Async(AsyncNode):
        async def exec_fallback_async(self, prep_result: Any, exc: Exception) -> Any:
            return None

    assert isinstance(AsyncNode()._call(), AsyncCall)
    assert AsyncNode()._call().fallback is None
    assert Sync()._call().fallback is not None
    assert Async()._call().fallback is not None
