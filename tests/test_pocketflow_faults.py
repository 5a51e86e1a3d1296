"""Faults of PocketFlow 0.0.3 that its users know, and that are not inherited."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from pocketflex.async_node import AsyncBatchNode, AsyncNode, AsyncParallelBatchNode
from pocketflex.batch_flow import AsyncFlow, AsyncParallelBatchFlow, BatchFlow
from pocketflex.batch_node import BatchNode
from pocketflex.errors import OptionError
from pocketflex.flow import Flow
from pocketflex.models import run_parallel_batch
from pocketflex.node import Node


def test_each_concurrent_item_has_all_of_its_attempts() -> None:
    tries: Counter[int] = Counter()

    class Flaky(AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return range(20)

        async def exec_async(self, item: int) -> int:
            assert self.cur_retry == tries[item]
            tries[item] += 1
            await asyncio.sleep(0)
            assert self.cur_retry == tries[item] - 1
            if tries[item] < 3:
                raise ValueError(item)
            return item

        async def post_async(self, shared: Any, prep_result: Any, exec_result: Any) -> None:
            shared["results"] = exec_result

    shared: dict[str, Any] = {}
    asyncio.run(Flaky(max_retries=3).run_async(shared))
    assert shared["results"] == list(range(20))
    assert set(tries.values()) == {3}


def test_each_item_in_a_thread_has_all_of_its_attempts() -> None:
    tries: Counter[int] = Counter()
    meeting = threading.Barrier(4, timeout=30)

    class Flaky(BatchNode):
        def prep(self, shared: Any) -> Any:
            return range(4)

        def exec_item(self, item: int) -> int:
            meeting.wait()
            assert self.cur_retry == tries[item]
            tries[item] += 1
            raise ValueError(item)

        def exec_fallback(self, prep_result: int, exc: Exception) -> int:
            return -prep_result

        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> None:
            shared["results"] = exec_result

    shared = run_parallel_batch(Flaky(max_retries=3), executor="threads", max_workers=4)
    assert shared["results"] == [0, -1, -2, -3]
    assert set(tries.values()) == {3}


def test_one_node_may_run_in_two_flows_at_once() -> None:
    class Flaky(AsyncNode):
        async def exec_async(self, prep_result: Any) -> Any:
            attempts.append(self.cur_retry)
            await asyncio.sleep(0)
            if self.cur_retry < 2:
                raise ValueError
            return None

    attempts: list[int] = []
    node = Flaky(max_retries=3)

    async def main() -> None:
        await asyncio.gather(*(AsyncFlow(start=node).run_async({}) for _ in range(3)))

    asyncio.run(main())
    assert sorted(attempts) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("kind", [AsyncBatchNode, AsyncParallelBatchNode])
def test_none_from_prep_is_an_empty_batch(kind: Any) -> None:
    class Nothing(kind):  # type: ignore[misc]
        async def post_async(self, shared: Any, prep_result: Any, exec_result: Any) -> None:
            shared["results"] = exec_result

    shared: dict[str, Any] = {}
    asyncio.run(Nothing().run_async(shared))
    assert shared["results"] == []


@pytest.mark.parametrize("what", ["node", "flow"])
def test_siblings_do_not_run_on_after_an_error(what: str) -> None:
    finished, started = [], asyncio.Event()

    async def work(item: int) -> None:
        if item == 0:
            await started.wait()
            raise ValueError("stop")
        started.set()
        for _ in range(1000):
            await asyncio.sleep(0)
        finished.append(item)

    class Items(AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return range(8)

        async def exec_async(self, item: int) -> None:
            await work(item)

    class One(AsyncNode):
        async def exec_async(self, prep_result: Any) -> None:
            await work(self.params["n"])

    class Runs(AsyncParallelBatchFlow):
        async def prep_async(self, shared: Any) -> Any:
            return [{"n": n} for n in range(8)]

    async def main() -> None:
        with pytest.raises(ValueError, match="stop"):
            await (Items() if what == "node" else Runs(start=One())).run_async({})
        assert len(asyncio.all_tasks()) == 1
        for _ in range(2000):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert finished == []


def test_zero_retries_are_refused() -> None:
    with pytest.raises(OptionError, match="at least 1"):
        Node(max_retries=0)


def test_a_chain_of_nodes_can_be_carried() -> None:
    nodes = [BatchNode() for _ in range(200)]
    for source, target in pairwise(nodes):
        source >> target
    assert len(pickle.dumps(nodes[0]._detached())) < 500
    assert pickle.loads(pickle.dumps(Flow(start=nodes[0]))).start_node.successors


def test_batch_flows_give_their_results() -> None:
    class One(Node):
        def exec(self, prep_result: Any) -> int:
            return int(self.params["n"]) ** 2

    class Squares(BatchFlow):
        def prep(self, shared: Any) -> Any:
            return [{"n": n} for n in range(4)]

        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> None:
            shared["squares"] = exec_result

    shared: dict[str, Any] = {}
    Squares(start=One()).run(shared)
    assert shared["squares"] == [0, 1, 4, 9]


def test_sync_nodes_do_not_block_the_loop() -> None:
    ticked = threading.Event()

    class Blocks(Node):
        def exec(self, prep_result: Any) -> bool:
            return ticked.wait(30)

        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> None:
            shared["ticked"] = exec_result

    async def main() -> dict[str, Any]:
        shared: dict[str, Any] = {}
        run = asyncio.create_task(AsyncFlow(start=Blocks()).run_async(shared))
        await asyncio.sleep(0)
        ticked.set()
        await run
        return shared

    assert asyncio.run(main()) == {"ticked": True}
