"""Flows that run once for each params dict."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from pocketflex.aio import run_async
from pocketflex.async_node import AsyncNode
from pocketflex.batch_flow import AsyncBatchFlow, AsyncParallelBatchFlow, BatchFlow, ParallelBatchFlow
from pocketflex.flow import Flow, linear
from pocketflex.models import run, run_batch
from pocketflex.node import Node


class Given:
    """A batch flow whose params and results are in `shared`."""

    def prep(self, shared: Any) -> Any:
        return shared["params"]

    def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
        shared["results"] = exec_result


class Runs(Given, BatchFlow): ...


class ParallelRuns(Given, ParallelBatchFlow): ...


class AsyncRuns(Given, AsyncBatchFlow): ...


class AsyncParallelRuns(Given, AsyncParallelBatchFlow): ...


class Read(Node):
    def exec(self, prep_result: Any) -> Any:
        return dict(self.params)


KINDS = [Runs, ParallelRuns]
THREE = [{"n": 1}, {"n": 2}, {"n": 3}]


@pytest.mark.parametrize("kind", KINDS)
def test_params_of_the_run_are_merged_over_the_flows_own(kind: Any) -> None:
    flow = kind(start=Read)
    flow.set_params({"n": 0, "all": True})
    shared = run_batch(flow, {"params": [{"n": 1}, {}]})
    assert shared["results"] == [{"n": 1, "all": True}, {"n": 0, "all": True}]


def test_nested_batch_flows_merge_params() -> None:
    class Inner(BatchFlow):
        def prep(self, shared: Any) -> Any:
            return [{"b": 1}, {"b": 2}]

    shared = run(Runs(start=Inner(start=Read)), {"params": [{"a": 1}, {"a": 2}]})
    assert shared["results"] == [[{"a": 1, "b": 1}, {"a": 1, "b": 2}], [{"a": 2, "b": 1}, {"a": 2, "b": 2}]]


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_is_that_of_the_last_node_visited(kind: Any) -> None:
    class First(Read):
        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
            return "two" if exec_result["n"] == 2 else None

    class Second(Node):
        def exec(self, prep_result: Any) -> Any:
            return "second"

    first = First()
    first - "two" >> linear(Second(), Second())
    first >> None
    assert run_batch(kind(start=first), {"params": THREE})["results"] == [{"n": 1}, "second", {"n": 3}]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [5, "text", ("a", 1)])
def test_params_must_be_a_mapping(kind: Any, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"node \w+Runs|node Runs: prep of a batch flow must give dicts") as caught:
        run_batch(kind(start=Read), {"params": [{}, wrong]})
    assert any("item 1" in note for note in caught.value.__notes__)


def test_prep_must_give_an_iterable_and_none_is_empty() -> None:
    with pytest.raises(TypeError, match=r"node Runs: .*iterable of params, not int"):
        run(Runs(start=Read), {"params": 5})
    assert run(Runs(start=Read), {"params": None})["results"] == []


def test_runs_change_shared_in_place_and_a_lazy_prep_sees_it() -> None:
    class Adds(Node):
        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> None:
            shared["n"] += 1

    class Until(BatchFlow):
        def prep(self, shared: Any) -> Iterator[dict[str, Any]]:
            while shared["n"] < 4:
                yield {}

    assert run(Until(start=Adds), {"n": 0}) == {"n": 4}


def test_an_error_in_a_lazy_prep_arrives_as_itself() -> None:
    class Broken(BatchFlow):
        def prep(self, shared: Any) -> Iterator[dict[str, Any]]:
            yield {}
            raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        run(Broken(start=Read))


def test_a_new_shared_is_seen_in_its_run_only() -> None:
    class Sets(Node):
        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
            return None, {**shared, "own": self.params["n"]}

    class Gets(Node):
        def prep(self, shared: Any) -> Any:
            return shared["own"]

        def exec(self, prep_result: Any) -> Any:
            return prep_result

    shared = run(Runs(start=linear(Sets(), Gets())), {"params": THREE})
    assert shared["results"] == [1, 2, 3]
    assert "own" not in shared


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_a_parallel_run_keeps_its_changes_to_itself(executor: str) -> None:
    class Writes(Node):
        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> None:
            shared["mine"] = shared.get("mine", 0) + 1

    class Tells(Node):
        def prep(self, shared: Any) -> Any:
            return shared["mine"]

        def exec(self, prep_result: Any) -> Any:
            return prep_result

    shared = run(ParallelRuns(start=linear(Writes(), Tells())), {"params": THREE}, executor=executor)
    assert shared["results"] == [1, 1, 1]
    assert "mine" not in shared


def test_parallel_runs_are_at_once() -> None:
    meeting = threading.Barrier(3, timeout=30)

    class Meets(Node):
        def exec(self, prep_result: Any) -> int:
            meeting.wait()
            return int(self.params["n"])

    shared = run(ParallelRuns(start=Meets), {"params": THREE}, executor="threads", max_workers=3)
    assert shared["results"] == [1, 2, 3]


def test_a_flow_that_follows_is_not_carried_and_still_runs() -> None:
    flow = ParallelRuns(start=Read)

    class After(Node):
        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> None:
            shared["after"] = len(shared["results"])

    assert run(linear(flow, After()), {"params": THREE}, executor="threads")["after"] == 3


class Waits(AsyncNode):
    """Runs that end only once `full` of them have begun; each run has a copy of the node, which shares these lists."""

    def __init__(self, full: int) -> None:
        super().__init__()
        self.under_way: list[int] = []
        self.counts: list[int] = []
        self.full, self.gate = full, asyncio.Event()

    async def exec_async(self, prep_result: Any) -> int:
        number = int(self.params["n"])
        self.under_way.append(number)
        self.counts.append(len(self.under_way))
        if len(self.under_way) == self.full:
            self.gate.set()
        await self.gate.wait()
        await asyncio.sleep(0)  # one too many would begin now
        self.under_way.remove(number)
        return number


def test_async_parallel_runs_are_at_once_and_bounded() -> None:
    async def main() -> None:
        node = Waits(full=3)
        flow = AsyncParallelRuns(start=node)
        shared = await run_async(flow, {"params": [{"n": n} for n in range(9)]}, max_concurrency=3)
        assert shared["results"] == list(range(9))
        assert max(node.counts) == 3

    asyncio.run(main())


def test_async_parallel_runs_cancel_their_siblings_on_an_error() -> None:
    cancelled, gate = [], asyncio.Event()

    class Node_(AsyncNode):
        async def exec_async(self, prep_result: Any) -> None:
            if self.params["n"] == 0:
                await gate.wait()
                raise ValueError("first")
            if self.params["n"] == 3:
                gate.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(self.params["n"])
                raise

    async def main() -> None:
        with pytest.raises(ValueError, match="first"):
            await AsyncParallelRuns(start=Node_()).run_async({"params": [{"n": n} for n in range(4)]})
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert sorted(cancelled) == [1, 2, 3]


@pytest.mark.parametrize("kind", [AsyncRuns, AsyncParallelRuns])
def test_async_prep_may_be_an_async_generator(kind: Any) -> None:
    class Streams(kind):  # type: ignore[misc]
        async def prep_async(self, shared: Any) -> AsyncIterator[dict[str, int]]:
            async def stream() -> AsyncIterator[dict[str, int]]:
                for n in range(3):
                    await asyncio.sleep(0)
                    yield {"n": n}

            return stream()

    shared = asyncio.run(run_async(Streams(start=Read), {}))
    assert shared["results"] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_the_default_post_of_a_batch_flow_returns_none() -> None:
    class Items(BatchFlow):
        def prep(self, shared: Any) -> Any:
            return THREE

    class Says(Node):
        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> str:
            return "said"

    assert Items(start=Says).run({}) is None
    assert Flow(start=Says).run({}) == "said"
