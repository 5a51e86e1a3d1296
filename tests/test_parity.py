"""Change the word, get the same answer: every node type under every model, on every executor."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketflex._engine.by_value import ship_by_value
from pocketflex.aio import run_async, run_async_batch, run_async_parallel_batch
from pocketflex.async_node import AsyncBatchNode, AsyncNode, AsyncParallelBatchNode
from pocketflex.batch_flow import (
    AsyncBatchFlow,
    AsyncFlow,
    AsyncParallelBatchFlow,
    BatchFlow,
    ParallelBatchFlow,
)
from pocketflex.batch_node import BatchNode, ParallelBatchNode
from pocketflex.errors import FlowError
from pocketflex.executors.base import Job, Run
from pocketflex.executors.process import ProcessPool
from pocketflex.flow import Flow
from pocketflex.models import run, run_batch, run_parallel_batch
from pocketflex.node import Node
from pocketflex.options import BatchOptions
from pocketflex.outcome import Failure

ship_by_value(sys.modules[__name__])  # pytest's importlib mode gives it a name that workers cannot import


class Joined:
    """Worker processes beside which the caller runs items too."""

    def start(self, job: Job, options: BatchOptions) -> Run:
        return ProcessPool().start(job, replace(options, isolate=False))


EXECUTORS = ["serial", "threads", "processes", pytest.param(Joined(), id="joined")]  # of the parallel models' batches

Runner = Callable[..., dict[str, Any]]


def awaited(function: Callable[..., Any]) -> Runner:
    """An async model as a plain function."""
    return lambda *args, **options: asyncio.run(function(*args, **options))


SYNC_MODELS: dict[str, Runner] = {"run": run, "run_batch": run_batch, "run_parallel_batch": run_parallel_batch}
ASYNC_MODELS: dict[str, Runner] = {
    "run_async": awaited(run_async),
    "run_async_batch": awaited(run_async_batch),
    "run_async_parallel_batch": awaited(run_async_parallel_batch),
}
MODELS = SYNC_MODELS | ASYNC_MODELS


@pytest.fixture(params=EXECUTORS)
def executor(request: pytest.FixtureRequest) -> Any:
    return request.param


class Keep:
    """The phases that all the nodes here share."""

    def prep(self, shared: Any) -> Any:
        return (item for item in shared["lazy"]) if "lazy" in shared else shared["items"]

    def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
        return "done", {**shared, "results": exec_result}


class Count:
    """Computes a square, and counts its calls in a file, which works from any process."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def compute(self, item: int) -> int:
        with self.path.open("a") as file:
            file.write(f"{item} ")
        if item == 13:
            raise ValueError(f"bad {item}")
        return item * item


class SyncItem(Count):
    def exec_item(self, item: int) -> int:
        return self.compute(item)


class AsyncItem(Count):
    async def exec_item_async(self, item: int) -> int:
        await asyncio.sleep(0)
        return self.compute(item)


class Batch_(Keep, SyncItem, BatchNode): ...


class Parallel(Keep, SyncItem, ParallelBatchNode): ...


class AsyncBatch(Keep, AsyncItem, AsyncBatchNode): ...


class AsyncParallel(Keep, AsyncItem, AsyncParallelBatchNode): ...


class Plain(Keep, Count, Node):
    def exec(self, items: list[int]) -> list[int]:
        return [self.compute(item) for item in items]


class AsyncPlain(Keep, Count, AsyncNode):
    async def exec_async(self, items: list[int]) -> list[int]:
        await asyncio.sleep(0)
        return [self.compute(item) for item in items]


class One(Count, Node):
    """A node inside the batch flows: one item a run."""

    def exec(self, prep_result: Any) -> int:
        return self.compute(self.params["item"])


class AsyncOne(Count, AsyncNode):
    async def exec_async(self, prep_result: Any) -> int:
        await asyncio.sleep(0)
        return self.compute(self.params["item"])


class Params(Keep):
    def prep(self, shared: Any) -> Any:
        if "lazy" in shared:
            return ({"item": item} for item in shared["lazy"])
        return [{"item": item} for item in shared["items"]]


class InBatchFlow(Params, BatchFlow): ...


class InParallelBatchFlow(Params, ParallelBatchFlow): ...


class InAsyncBatchFlow(Params, AsyncBatchFlow): ...


class InAsyncParallelBatchFlow(Params, AsyncParallelBatchFlow): ...


SYNC_KINDS: dict[str, Callable[[Path], Any]] = {
    "Node": Plain,
    "BatchNode": Batch_,
    "ParallelBatchNode": Parallel,
    "Flow": lambda path: Flow(start=Batch_(path)),
    "BatchFlow": lambda path: InBatchFlow(start=One(path)),
    "ParallelBatchFlow": lambda path: InParallelBatchFlow(start=One(path)),
}
ASYNC_KINDS: dict[str, Callable[[Path], Any]] = {
    "AsyncNode": AsyncPlain,
    "AsyncBatchNode": AsyncBatch,
    "AsyncParallelBatchNode": AsyncParallel,
    "AsyncFlow": lambda path: AsyncFlow(start=AsyncBatch(path)),
    "AsyncBatchFlow": lambda path: InAsyncBatchFlow(start=AsyncOne(path)),
    "AsyncParallelBatchFlow": lambda path: InAsyncParallelBatchFlow(start=AsyncOne(path)),
}
KINDS = SYNC_KINDS | ASYNC_KINDS
CELLS = [
    pytest.param(KINDS[kind], MODELS[model], id=f"{kind}-{model}")
    for kind in KINDS
    for model in (MODELS if kind in SYNC_KINDS else ASYNC_MODELS)
]
ITEM_CELLS = [cell for cell in CELLS if "Batch" in str(cell.id).partition("-")[0]]
REFUSED = [
    pytest.param(ASYNC_KINDS[kind], model, id=f"{kind}-{model}") for kind in ASYNC_KINDS for model in SYNC_MODELS
]


@pytest.mark.parametrize(("build", "model"), CELLS)
def test_every_kind_of_node_gives_the_same_results_and_calls_each_item_once(
    build: Callable[[Path], Any], model: Runner, executor: Any, tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    shared = model(build(calls), {"items": list(range(10))}, executor=executor)
    assert shared["results"] == [n * n for n in range(10)]
    assert sorted(map(int, calls.read_text().split())) == list(range(10))


@pytest.mark.parametrize(("build", "model"), CELLS)
def test_every_kind_of_node_raises_the_items_own_exception(
    build: Callable[[Path], Any], model: Runner, executor: Any, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="bad 13") as caught:
        model(build(tmp_path / "calls"), {"items": [4, 5, 6, 13, 7, 13]}, executor=executor)
    assert str(caught.value) == "bad 13"


@pytest.mark.parametrize(("build", "model"), ITEM_CELLS)
def test_the_note_names_the_failing_index(
    build: Callable[[Path], Any], model: Runner, executor: Any, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="bad 13") as caught:
        model(build(tmp_path / "calls"), {"items": [4, 5, 6, 13, 7, 13]}, executor=executor)
    assert any("item 3, attempt 1" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(("build", "model"), ITEM_CELLS)
def test_collect_leaves_the_failure_in_its_place(
    build: Callable[[Path], Any], model: Runner, executor: Any, tmp_path: Path
) -> None:
    shared = model(build(tmp_path / "calls"), {"items": [1, 13, 3]}, executor=executor, on_error="collect")
    first, failure, last = shared["results"]
    assert (first, last) == (1, 9)
    assert isinstance(failure, Failure)
    assert (failure.index, failure.kind, str(failure.error)) == (1, "exception", "bad 13")


@pytest.mark.parametrize(("build", "model"), ITEM_CELLS)
def test_skip_leaves_failures_out(build: Callable[[Path], Any], model: Runner, executor: Any, tmp_path: Path) -> None:
    shared = model(build(tmp_path / "calls"), {"items": [1, 13, 3]}, executor=executor, on_error="skip")
    assert shared["results"] == [1, 9]
    with pytest.raises(ValueError, match="bad 13"):
        model(build(tmp_path / "calls"), {"items": [13, 13]}, executor=executor, on_error="skip")


@pytest.mark.parametrize("items", [[], (), iter(()), np.empty((0, 2))], ids=["list", "tuple", "iterator", "ndarray"])
@pytest.mark.parametrize(("build", "model"), ITEM_CELLS)
def test_no_items_give_no_results(
    build: Callable[[Path], Any], model: Runner, executor: Any, tmp_path: Path, items: Any
) -> None:
    assert model(build(tmp_path / "calls"), {"items": items}, executor=executor)["results"] == []


BATCH_NODES = [cell for cell in ITEM_CELLS if "BatchNode" in str(cell.id)]


@pytest.mark.parametrize(("build", "model"), BATCH_NODES)
def test_none_is_an_empty_batch(build: Callable[[Path], Any], model: Runner, executor: Any, tmp_path: Path) -> None:
    assert model(build(tmp_path / "calls"), {"items": None}, executor=executor)["results"] == []


@pytest.mark.parametrize(("build", "model"), ITEM_CELLS)
def test_a_generator_gives_items(build: Callable[[Path], Any], model: Runner, executor: Any, tmp_path: Path) -> None:
    shared = model(build(tmp_path / "calls"), {"lazy": range(20, 60)}, executor=executor)
    assert shared["results"] == [n * n for n in range(20, 60)]


@pytest.mark.parametrize(("build", "model"), BATCH_NODES)
def test_not_iterable_names_the_node(
    build: Callable[[Path], Any], model: Runner, executor: Any, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=r"node \w+: .*iterable, not int"):
        model(build(tmp_path / "calls"), {"items": 5}, executor=executor)


class RowSums(Keep, BatchNode):
    def exec_item(self, row: Any) -> float:
        return float(row.sum())


class ChunkSums(Keep, BatchNode):
    def exec_chunk(self, rows: Any) -> Any:
        assert isinstance(rows, np.ndarray)
        return rows.sum(axis=1)


@pytest.mark.parametrize("kind", [RowSums, ChunkSums])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_rows_of_an_array_are_items(kind: Any, model: Runner, executor: Any) -> None:
    shared = model(kind(), {"items": np.arange(12.0).reshape(4, 3)}, executor=executor)
    assert shared["results"] == [3.0, 12.0, 21.0, 30.0]


@pytest.mark.parametrize(("build", "model"), REFUSED)
def test_sync_models_refuse_async_nodes_and_name_the_way(
    build: Callable[[Path], Any], model: str, tmp_path: Path
) -> None:
    ways = {"run": "run_async", "run_batch": "run_async_batch", "run_parallel_batch": "run_async_parallel_batch"}
    with pytest.raises(FlowError, match=rf"node \w+ is async: use `await pf.{ways[model]}\("):
        MODELS[model](build(tmp_path / "calls"), {"items": [1]})
    assert not (tmp_path / "calls").exists()


class Odd(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


class Raises(Node):
    def __init__(self, error: BaseException, phase: str) -> None:
        super().__init__()
        self.error, self.phase = error, phase

    def _fail(self, phase: str) -> None:
        if phase == self.phase:
            raise self.error

    def prep(self, shared: Any) -> None:
        self._fail("prep")

    def exec(self, prep_result: Any) -> None:
        self._fail("exec")

    def post(self, shared: Any, prep_result: Any, exec_result: Any) -> None:
        self._fail("post")


class RaisesOnItem(BatchNode):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def prep(self, shared: Any) -> list[int]:
        return [0, 1]

    def exec_item(self, item: int) -> None:
        if item:
            raise self.error


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit("x"), Odd(1, 2), StopAsyncIteration(1)], ids=repr)
@pytest.mark.parametrize("phase", ["prep", "exec", "post", "item"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_any_exception_arrives_as_itself(model: Runner, phase: str, error: BaseException) -> None:
    node = RaisesOnItem(error) if phase == "item" else Raises(error, phase)
    with pytest.raises(type(error)) as caught:
        model(Flow(start=Flow(start=node)), executor="serial")
    assert caught.value is error


@pytest.mark.parametrize("phase", ["prep", "exec", "post", "item"])
@pytest.mark.parametrize("model", SYNC_MODELS.values(), ids=SYNC_MODELS)
def test_stop_iteration_arrives_as_itself(model: Runner, phase: str) -> None:
    error = StopIteration(7)
    with pytest.raises(StopIteration) as caught:
        model(Flow(start=RaisesOnItem(error) if phase == "item" else Raises(error, phase)), executor="threads")
    assert caught.value is error


@pytest.mark.parametrize("phase", ["prep", "exec", "post", "item"])
@pytest.mark.parametrize("model", ASYNC_MODELS.values(), ids=ASYNC_MODELS)
def test_stop_iteration_is_the_cause_where_a_coroutine_cannot_raise_it(model: Runner, phase: str) -> None:
    error = StopIteration(7)
    with pytest.raises(RuntimeError) as caught:
        model(Flow(start=RaisesOnItem(error) if phase == "item" else Raises(error, phase)), executor="threads")
    assert caught.value.__cause__ is error
