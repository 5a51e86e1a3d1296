"""The async models: bounds, cancellation, fairness, outcomes; nothing here waits for time to pass."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from functools import partial
from time import perf_counter, thread_time
from typing import Any, ClassVar

import pytest

from pocketflex.aio import run_async, run_async_batch, run_async_parallel_batch
from pocketflex.aio.tasks import go_on
from pocketflex.async_node import AsyncBatchNode, AsyncNode, AsyncParallelBatchNode
from pocketflex.batch_node import BatchNode
from pocketflex.errors import ItemTimeoutError
from pocketflex.flow import Flow, linear
from pocketflex.node import Node
from pocketflex.outcome import Failure


class Items(AsyncParallelBatchNode):
    """A batch over ``shared["items"]``."""

    def prep(self, shared: Any) -> Any:
        return shared["items"]

    def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
        return None, {**shared, "results": exec_result}


class Hand(Items):
    """Gives each item to a function."""

    def __init__(self, function: Any, **retries: Any) -> None:
        super().__init__(**retries)
        self.function = function

    async def exec_item_async(self, item: Any) -> Any:
        return await self.function(item)


def results(function: Any, items: Any, **options: Any) -> list[Any]:
    shared = asyncio.run(run_async(Hand(function), {"items": items}, **options))
    return list(shared["results"])


@pytest.mark.parametrize(("items", "expected"), [(range(20), 4), (range(3), 3), (iter(range(20)), 4)])
@pytest.mark.parametrize("options", [{}, {"timeout": 60}])
def test_the_bound_is_reached_and_never_passed(items: Any, expected: int, options: dict[str, Any]) -> None:
    running, most, gate = 0, 0, asyncio.Event()

    async def hold(item: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == expected:
            gate.set()
        await gate.wait()
        await asyncio.sleep(0)
        running -= 1
        return item

    if not isinstance(items, range):
        items = iter(range(20))
    assert results(hold, items, max_concurrency=4, **options) == list(range(3 if expected == 3 else 20))
    assert most == expected


@pytest.mark.parametrize("model", [run_async_batch, run_async])
def test_one_after_another_is_one_at_a_time(model: Any) -> None:
    seen: list[tuple[str, int]] = []

    class OneByOne(AsyncBatchNode):
        def prep(self, shared: Any) -> Any:
            return range(5)

        async def exec_item_async(self, item: int) -> None:
            seen.append(("begins", item))
            await asyncio.sleep(0)
            seen.append(("ends", item))

    asyncio.run(model(OneByOne()))
    assert seen == [(what, item) for item in range(5) for what in ("begins", "ends")]


def test_results_are_in_input_order_whatever_ends_first() -> None:
    events: dict[int, asyncio.Event] = {n: asyncio.Event() for n in range(5)}

    async def backwards(item: int) -> int:
        if item < 4:
            await events[item + 1].wait()
        events[item].set()
        return item

    assert results(backwards, range(5)) == [0, 1, 2, 3, 4]


async def echo(item: Any) -> Any:
    return item


def test_a_million_tiny_items_in_bounded_memory_and_few_tasks() -> None:
    most = 0

    class Watched(Items):
        async def exec_item_async(self, item: int) -> None:
            nonlocal most
            if not item % 100_000:
                most = max(most, len(asyncio.all_tasks()))

    tracemalloc.start()
    try:
        shared = asyncio.run(run_async(Watched(), {"items": range(1_000_000)}, max_concurrency=16))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(shared["results"]) == 1_000_000
    assert most <= 18
    assert peak < 20_000_000  # the list of results is 8 MB, and grows by copying


class Promise:
    """Something to await that is no coroutine."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def __await__(self) -> Iterator[Any]:
        yield from asyncio.sleep(0).__await__()
        return self._result


def form(function: Any, kind: str) -> Any:
    """`function` as something else that can be called and awaited."""
    forms: dict[str, Any] = {
        "function": function,
        "partial": partial(function),
        "promise": lambda item: Promise(item) if item % 7 else function(item),
        "task": lambda item: asyncio.ensure_future(function(item)),
    }
    return forms[kind]


@pytest.mark.parametrize("concurrency", [1, 3, 1000])
@pytest.mark.parametrize("kind", ["function", "partial", "promise", "task"])
@pytest.mark.parametrize("share", [1, 2, 50, 10_000])
def test_items_that_suspend_among_others_that_do_not(share: int, kind: str, concurrency: int) -> None:
    async def work(item: int) -> int:
        if item % share == 0:
            await asyncio.sleep(0)
        if item % 701 == 700:
            raise ValueError(item)
        return item

    class Bare(Items):
        exec_item_async = staticmethod(form(work, kind))

    shared = asyncio.run(run_async(Bare(), {"items": range(3000)}, max_concurrency=concurrency, on_error="collect"))
    for index, outcome in enumerate(shared["results"]):
        if isinstance(outcome, Failure):
            assert (outcome.index, outcome.error.args, index % 701) == (index, (index,), 700)
        else:
            assert outcome == index


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
def test_tasks_that_begin_at_once_do_not_begin_within_each_other() -> None:
    depths = []

    async def work(item: int) -> int:
        depths.append(len(inspect.stack(0)))
        await asyncio.sleep(0)
        return item

    async def main() -> Any:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        return await run_async(Hand(work), {"items": range(500)}, max_concurrency=500)

    assert asyncio.run(main())["results"] == list(range(500))
    assert max(depths) - min(depths) < 20


def test_what_an_item_sets_in_its_context_is_not_seen_by_those_beside_it() -> None:
    variable = ContextVar("variable", default=-1)
    gate = asyncio.Event()

    async def work(item: int) -> int:
        found = variable.get()
        variable.set(item)
        if item == 19:
            gate.set()
        await gate.wait()
        return found

    assert results(work, range(20)) == [-1] * 20


def test_a_coroutine_that_is_abandoned_runs_its_finally() -> None:
    seen = []

    async def work() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            seen.append("finally")

    started = work()
    going_on = go_on(started, started.send(None))
    going_on.send(None)
    going_on.close()
    assert seen == ["finally"]


@pytest.mark.parametrize("options", [{}, {"max_concurrency": 1}, {"timeout": 60}])
def test_items_that_never_suspend_leave_the_loop_its_turns(options: dict[str, Any]) -> None:
    turns = 0

    async def main() -> None:
        nonlocal turns

        async def tick() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        ticking = asyncio.create_task(tick())

        async def busy(item: int) -> None:
            end = perf_counter() + 0.0005
            while perf_counter() < end:
                pass

        begun = thread_time()  # and not the clock: others may have the CPU meanwhile
        await run_async(Hand(busy), {"items": range(400)}, **options)
        assert turns >= (thread_time() - begun) / 0.005 / 4
        ticking.cancel()

    asyncio.run(main())


def test_async_iterables_are_read_one_item_at_a_time() -> None:
    closed = []

    async def stream() -> AsyncIterator[int]:
        try:
            for n in range(20):
                await asyncio.sleep(0)
                yield n
        finally:
            closed.append(1)

    assert results(echo, stream(), max_concurrency=4) == list(range(20))

    async def fails(item: int) -> None:
        raise ValueError(item)

    with pytest.raises(ValueError, match="0"):
        results(fails, stream(), max_concurrency=4)
    assert closed == [1, 1]


@pytest.mark.parametrize("on_error", ["raise", "collect"])
def test_an_error_of_the_feed_arrives_as_itself_once_what_runs_has_ended(on_error: str) -> None:
    ended = []

    def feed() -> Iterator[int]:
        yield 0
        yield 1
        raise KeyError("feed")

    async def work(item: int) -> None:
        await asyncio.sleep(0)
        ended.append(item)

    with pytest.raises(KeyError, match="feed"):
        results(work, feed(), on_error=on_error)
    assert ended == [0, 1]


def test_the_lowest_failure_is_raised_and_higher_items_are_cancelled() -> None:
    fates: dict[int, str] = {}
    pulled = []
    low, all_in = asyncio.Event(), asyncio.Event()

    def feed() -> Iterator[int]:
        for n in range(100):
            pulled.append(n)
            yield n

    async def work(item: int) -> int:
        if item == 5:
            all_in.set()
        if item > 3:
            try:
                await asyncio.Event().wait()
            finally:
                fates[item] = "cancelled"
        await all_in.wait()
        if item == 1:
            await low.wait()
            raise ValueError("one")
        if item == 3:
            low.set()
            raise ValueError("three")
        return item

    with pytest.raises(ValueError, match="one") as caught:
        results(work, feed(), max_concurrency=6)
    assert str(caught.value) == "one"
    assert any("item 1" in note for note in caught.value.__notes__)
    assert sorted(fates) == pulled[4:]
    assert len(pulled) <= 8  # 0 and 2 ended before the failure, so two more may have begun


def test_an_item_that_swallows_its_cancellation_does_not_go_on_pulling() -> None:
    seen, all_in = [], asyncio.Event()

    async def work(item: int) -> None:
        seen.append(item)
        if item == 2:
            all_in.set()
        if item == 0:
            await all_in.wait()
            raise ValueError("zero")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    with pytest.raises(ValueError, match="zero"):
        results(work, range(100), max_concurrency=3)
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("retries", [1, 2])
def test_timeout_is_the_items_failure_also_if_it_is_swallowed(retries: int) -> None:
    async def work(item: str) -> str:
        if item == "own":
            raise TimeoutError("own")
        try:
            if item != "quick":
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            if item == "swallows":
                return "late"
            if item == "converts":
                raise ValueError("converted") from None
            raise
        return item

    node = Hand(work, max_retries=retries)
    items = ["quick", "hangs", "swallows", "own", "converts"]
    shared = asyncio.run(run_async(node, {"items": items}, timeout=0.05, on_error="collect"))
    quick, hangs, swallows, own, converts = shared["results"]
    assert quick == "quick"
    for failure in (hangs, swallows, converts):
        assert failure.kind == "timeout"
        assert isinstance(failure.error, ItemTimeoutError)
    assert (own.kind, str(own.error), own.attempts) == ("exception", "own", retries)


@pytest.mark.parametrize("how", ["raise", "cancel itself"])
def test_an_items_own_cancellation_is_its_failure_alone(how: str) -> None:
    async def work(item: int) -> int:
        if item == 1:
            if how == "raise":
                raise asyncio.CancelledError("own")
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        return item

    first, failure, last = results(work, range(3), on_error="collect", max_concurrency=1)
    assert (first, last) == (0, 2)
    assert isinstance(failure, Failure)
    assert failure.kind == "cancelled"


@pytest.mark.parametrize("options", [{}, {"timeout": 60}])
def test_cancelling_the_call_cancels_every_item_and_waits(options: dict[str, Any]) -> None:
    ended = []

    async def main() -> None:
        begun = asyncio.Event()

        async def work(item: int) -> None:
            if item == 3:
                begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append(item)

        call = asyncio.create_task(run_async(Hand(work), {"items": range(4)}, **options))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert sorted(ended) == [0, 1, 2, 3]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_cancelling_the_call_stops_a_sync_batch_and_waits(executor: str) -> None:
    begun, go_on = threading.Event(), threading.Event()
    seen = []

    class Slow(BatchNode):
        def prep(self, shared: Any) -> Any:
            return range(10_000)

        def exec_item(self, item: int) -> None:
            seen.append(item)
            begun.set()
            go_on.wait()

    async def main() -> None:
        call = asyncio.create_task(run_async_parallel_batch(Slow(), executor=executor, max_workers=2))
        await asyncio.to_thread(begun.wait)
        call.cancel()
        await asyncio.sleep(0)
        assert not call.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(main())
    assert len(seen) < 10_000


def test_the_loop_goes_on_while_a_sync_node_computes() -> None:
    ticks, enough = [], threading.Event()

    class Heavy(Node):
        def exec(self, prep_result: Any) -> int:
            total = 0
            while not enough.is_set():
                total += sum(range(1000))
            return total

    async def main() -> None:
        async def tick() -> None:
            while len(ticks) < 20:
                await asyncio.sleep(0)
                ticks.append(1)
            enough.set()

        ticking = asyncio.create_task(tick())
        await run_async(Flow(start=Heavy()))
        await ticking

    asyncio.run(main())
    assert len(ticks) == 20


def test_batches_leave_the_threads_of_the_loop_to_others() -> None:
    """Many more batches than the loop has threads, none of which ends before one more thread has been had."""
    begun: list[int] = []
    is_over = threading.Event()

    class Waits(BatchNode):
        def prep(self, shared: Any) -> Any:
            return [shared]

        def exec_item(self, item: Any) -> bool:
            begun.append(1)
            if len(begun) == 50:
                item["loop"].call_soon_threadsafe(item["all"].set)
            return is_over.wait(20)

        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
            return None, {"results": exec_result}

    async def main() -> Any:
        shared = {"loop": asyncio.get_running_loop(), "all": asyncio.Event()}
        batches = [asyncio.create_task(run_async(Flow(start=Waits), shared)) for _ in range(50)]
        await asyncio.wait_for(shared["all"].wait(), 20)
        await asyncio.to_thread(is_over.set)
        return await asyncio.gather(*batches)

    assert asyncio.run(main()) == [{"results": [True]}] * 50


class Traced:
    """Notes in which threads it is pickled and loaded."""

    threads: ClassVar[list[int]] = []

    def __getstate__(self) -> Any:
        self.threads.append(threading.get_ident())
        return {"is": "traced"}

    def __setstate__(self, state: Any) -> None:
        self.threads.append(threading.get_ident())


def test_what_pickles_items_and_results_never_runs_on_the_loop() -> None:
    class Carries(BatchNode):
        def prep(self, shared: Any) -> Any:
            return [Traced() for _ in range(shared["items"])]

        def exec_item(self, item: Any) -> Any:
            return item

    Traced.threads.clear()
    for items in (1, 50):
        asyncio.run(run_async_parallel_batch(Flow(start=Carries), {"items": items}, max_workers=2))
    assert len(Traced.threads) == 2 * 51  # of each item, and of its result
    assert threading.get_ident() not in Traced.threads


def test_sync_phases_of_an_async_node_run_on_the_loop_and_may_be_async() -> None:
    class Mixed(AsyncNode):
        async def prep(self, shared: Any) -> Any:  # type: ignore[override]
            return asyncio.get_running_loop()

        async def exec_async(self, prep_result: Any) -> Any:
            return prep_result is asyncio.get_running_loop()

        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
            asyncio.get_running_loop()
            shared["same"] = exec_result

    assert asyncio.run(run_async(Mixed())) == {"same": True}


def test_sync_and_async_nodes_mix_in_one_flow() -> None:
    class Sync(Node):
        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
            shared["threads"].append(threading.current_thread() is threading.main_thread())

    class Async(AsyncNode):
        async def post_async(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
            shared["threads"].append(threading.current_thread() is threading.main_thread())

    shared = asyncio.run(run_async(linear(Sync(), Async(), Sync()), {"threads": []}))
    assert shared["threads"] == [False, True, False]


def test_async_retries_wait_and_fall_back() -> None:
    seen = []

    class Fails(AsyncNode):
        async def exec_async(self, prep_result: Any) -> Any:
            seen.append(self.cur_retry)
            raise ValueError("no")

        async def exec_fallback_async(self, prep_result: Any, exc: Exception) -> Any:
            return f"fell back: {exc}"

        async def post_async(self, shared: Any, prep_result: Any, exec_result: Any) -> None:
            shared["result"] = exec_result

    assert asyncio.run(run_async(Fails(max_retries=3, wait=0.001))) == {"result": "fell back: no"}
    assert seen == [0, 1, 2]


def test_an_item_may_run_a_flow_of_its_own() -> None:
    async def nested(item: int) -> Any:
        return (await run_async(Hand(echo), {"items": range(item)}))["results"]

    assert results(nested, range(4)) == [[], [0], [0, 1], [0, 1, 2]]


def test_keyboard_interrupt_passes_through() -> None:
    async def work(item: int) -> None:
        if item == 1:
            raise KeyboardInterrupt
        await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        results(work, range(3))
