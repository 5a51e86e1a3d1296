"""What the module functions promise besides the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pocketflex import aio, models
from pocketflex.aio import run_async
from pocketflex.async_node import AsyncParallelBatchNode
from pocketflex.batch_node import BatchNode, ParallelBatchNode
from pocketflex.errors import FlowError, OptionError, UnknownActionError
from pocketflex.flow import Flow, linear
from pocketflex.models import run, run_batch, run_parallel_batch
from pocketflex.node import Node
from pocketflex.observe.report import Report


class Squares(BatchNode):
    def prep(self, shared: Any) -> Any:
        return shared["items"]

    def exec_item(self, item: int) -> int:
        return item * item

    def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
        return "done", {**shared, "squares": exec_result}


class Mutates(Node):
    def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
        shared["new"] = 1
        shared["list"].append(1)


@pytest.mark.parametrize("model", [run, run_batch, run_parallel_batch, lambda *a: asyncio.run(run_async(*a))])
def test_the_callers_dict_is_not_changed_but_what_it_holds_is_not_copied(model: Any) -> None:
    shared: dict[str, Any] = {"list": []}
    assert model(Mutates(), shared) == {"list": [1], "new": 1}
    assert shared == {"list": [1]}


def test_a_dict_that_post_returns_is_not_changed_by_later_nodes() -> None:
    constant: dict[str, Any] = {"list": []}

    class Gives(Node):
        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
            return None, constant

    assert "new" in run(linear(Gives(), Mutates()))
    assert "new" not in constant


def test_a_bare_node_and_a_class_are_flows_of_their_own() -> None:
    assert run(Squares(), {"items": [2]})["squares"] == [4]
    assert run(Squares, {"items": [3]})["squares"] == [9]
    node = Squares()
    node - "done" >> Mutates()
    assert run(node, {"items": [], "list": []})["new"] == 1


def test_params_of_a_bare_node_are_kept() -> None:
    class Reads(Node):
        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
            shared["got"] = self.params["n"]

    node = Reads()
    node.set_params({"n": 5})
    assert run(node)["got"] == 5


@pytest.mark.parametrize("wrong", [5, None, "flow", int, lambda: None])
def test_not_a_flow(wrong: Any) -> None:
    with pytest.raises(TypeError, match="pass a pocketflex Flow or a node"):
        run(wrong)


def test_shared_must_be_a_mapping() -> None:
    with pytest.raises(TypeError, match="shared must be a dict or None, not list"):
        run(Squares(), [1])  # type: ignore[arg-type]


@pytest.mark.parametrize("returned", [5, ("a", 5), ("a", {}, {}), ["a"], (5, {})])
def test_post_must_return_an_action_or_a_pair(returned: Any) -> None:
    class Wrong(Node):
        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
            return returned

    with pytest.raises(TypeError, match="node Wrong: post returned"):
        run(Wrong())
    assert Flow(start=Wrong()).run({}) == returned


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_worker": 2}, "did you mean 'max_workers'"),
        ({"on_error": "ignore"}, "on_error='ignore'"),
        ({"executor": "proceses"}, "executor='proceses'"),
        ({"timeout": 0}, "timeout=0"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(options: dict[str, Any], message: str) -> None:
    shared: dict[str, Any] = {"list": []}
    with pytest.raises(OptionError, match=message):
        run(Mutates(), shared, **options)
    with pytest.raises(OptionError, match=message):
        asyncio.run(run_async(Mutates(), shared, **options))
    assert shared["list"] == []


def test_wrong_options_of_a_later_batch_node_are_refused_before_anything_runs() -> None:
    later = Squares()
    later.on_error = "never"  # type: ignore[attr-defined]
    shared: dict[str, Any] = {"list": [], "items": []}
    with pytest.raises(OptionError, match="on_error='never'"):
        run(linear(Mutates(), later), shared)
    assert shared["list"] == []


def test_the_options_of_the_call_win_over_the_nodes() -> None:
    class Fails(Squares):
        on_error = "skip"

        def exec_item(self, item: int) -> int:
            return 1 // item

    assert run(Fails(), {"items": [0, 1]})["squares"] == [1]
    with pytest.raises(ZeroDivisionError):
        run(Fails(), {"items": [0, 1]}, on_error="raise")


class Recorder:
    """An executor that notes that it was used."""

    def __init__(self) -> None:
        self.labels: list[str] = []

    def start(self, job: Any, options: Any) -> Any:
        from pocketflex.executors.serial import Serial

        self.labels.append(job.label)
        return Serial().start(job, options)


class Parallel(Squares, ParallelBatchNode): ...


@pytest.mark.parametrize(
    ("model", "used"),
    [
        ("run", ["node Parallel"]),
        ("batch", []),
        ("parallel-batch", ["node Squares", "node Parallel"]),
        ("async", ["node Parallel"]),
        ("async-batch", []),
        ("async-parallel-batch", ["node Squares", "node Parallel"]),
    ],
)
def test_which_batches_use_the_executor(model: str, used: list[str]) -> None:
    squares, recorder, report = Squares(), Recorder(), Report()
    squares - "done" >> Parallel()
    arguments = (Flow(start=squares), {"items": [1, 2]}, model, {"executor": recorder}, report)
    if model.startswith("async"):
        asyncio.run(aio.execute(*arguments))
    else:
        models.execute(*arguments)
    assert recorder.labels == used
    assert [(batch.label, batch.items) for batch in report.batches] == [("node Squares", 2), ("node Parallel", 2)]


def test_async_batches_are_in_the_report_and_on_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    class Fetch(AsyncParallelBatchNode):
        def prep(self, shared: Any) -> Any:
            return range(5)

        async def exec_item_async(self, item: int) -> int:
            return 1 // item

    report = Report()
    asyncio.run(aio.execute(Fetch(), None, "async", {"on_error": "collect", "progress": True}, report))
    assert (report.items, report.failures, report.batches[0].label) == (5, 1, "node Fetch")
    assert "5/5" in capsys.readouterr().err


def test_errors_of_the_library_are_builtins_too() -> None:
    assert issubclass(FlowError, ValueError)
    assert issubclass(UnknownActionError, LookupError)
