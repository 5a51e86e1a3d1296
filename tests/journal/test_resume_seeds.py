"""`resume` with `seed` and `initializer`: numbers are those of the whole run, and nothing is prepared in vain."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pocketflex as pf
from pocketflex._engine.by_value import ship_by_value
from pocketflex.prepared import Places

ship_by_value(sys.modules[__name__])

SEED = 7
SHAPES: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "range": lambda items: items,
    "array": np.array,
    "rows": lambda items: np.repeat(np.array(items), 3).reshape(-1, 3),
    "generator": lambda items: (item for item in items),
    "generator of arrays": lambda items: (np.full(3, item) for item in items),
}
WAYS: list[dict[str, Any]] = [
    {"executor": "serial"},
    {"executor": "threads", "max_workers": 2},
    {"max_workers": 2},
    {"max_workers": 2, "chunksize": 5},
    {"max_workers": 2, "isolate": False},
    {"max_workers": 2, "timeout": 60},
    {"max_workers": 2, "retry": pf.Retry(2, wait=0.01)},
]


def is_broken() -> bool:
    return "BROKEN" in os.environ


def draw(item: Any) -> Any:
    numbers = pf.item_seed()  # item_rng would have each worker import numpy, for what follows from the same
    if int(np.max(item)) in (0, 3, 4, 9, 19) and is_broken():
        raise ValueError(f"not now: {numbers}")
    return numbers


def expected(count: int) -> list[Any]:
    return pf.parallel_map(draw, range(count), seed=SEED, executor="serial")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", WAYS, ids=str)
def test_a_resumed_run_has_the_numbers_of_a_whole_one(
    path: Path, monkeypatch: pytest.MonkeyPatch, shape: str, options: dict[str, Any]
) -> None:
    wanted, make = expected(20), SHAPES[shape]
    options = {**options, "seed": SEED, "resume": path}
    monkeypatch.setenv("BROKEN", "1")
    first = pf.parallel_map(draw, make(range(20)), on_error="collect", **options)
    failed = [one for one in first if isinstance(one, pf.Failure)]
    assert [one.index for one in failed] == [0, 3, 4, 9, 19]
    assert [str(one.error) for one in failed] == [f"not now: {wanted[one.index]}" for one in failed]
    again = pf.parallel_map(draw, make(range(20)), on_error="collect", **options)
    assert [str(one.error) for one in again if isinstance(one, pf.Failure)] == [str(one.error) for one in failed]
    monkeypatch.delenv("BROKEN")
    assert [one.replay() for one in again if isinstance(one, pf.Failure)] == [wanted[one.index] for one in failed]
    assert pf.parallel_map(draw, make(range(20)), **options) == wanted
    assert pf.parallel_map(draw, make(range(20)), **options) == wanted


@pytest.mark.parametrize("shape", SHAPES)
def test_the_one_item_that_is_missing_has_its_own_numbers(
    path: Path, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    make = SHAPES[shape]
    monkeypatch.setenv("BROKEN", "1")
    with pytest.raises(ValueError, match="not now"):
        pf.parallel_map(draw, make(range(1, 4)), seed=SEED, resume=path, executor="serial")
    monkeypatch.delenv("BROKEN")
    assert pf.parallel_map(draw, make(range(1, 4)), seed=SEED, resume=path) == expected(3)


class Draw(pf.BatchNode):
    def prep(self, shared: Any) -> Any:
        return SHAPES[shared.get("shape", "range")](range(20))

    def exec_item(self, item: Any) -> Any:
        return draw(item)

    def post(self, shared: Any, items: Any, results: Any) -> Any:
        return "done", {"numbers": results}


class DrawAsync(pf.AsyncBatchNode):
    def prep(self, shared: Any) -> Any:
        return SHAPES[shared.get("shape", "range")](range(20))

    async def exec_item_async(self, item: Any) -> Any:
        await asyncio.sleep(0)
        return draw(item)

    def post(self, shared: Any, items: Any, results: Any) -> Any:
        return "done", {"numbers": results}


MODELS = [pf.run_batch, pf.run_parallel_batch, pf.run_async, pf.run_async_batch, pf.run_async_parallel_batch]
NODES = [(model, node) for model in MODELS for node in (Draw, DrawAsync) if node is Draw or "async" in model.__name__]


def call(model: Any, *args: Any, **options: Any) -> Any:
    found = model(*args, **options)
    return asyncio.run(found) if asyncio.iscoroutine(found) else found


@pytest.mark.parametrize("shape", ["list", "generator"])
@pytest.mark.parametrize(("model", "node"), NODES)
def test_models_resume_with_the_same_numbers(
    path: Path, monkeypatch: pytest.MonkeyPatch, model: Any, node: Any, shape: str
) -> None:
    monkeypatch.setenv("BROKEN", "1")
    call(model, node, {"shape": shape}, seed=SEED, resume=path, on_error="skip")
    monkeypatch.delenv("BROKEN")
    assert call(model, node, {"shape": shape}, seed=SEED, resume=path)["numbers"] == expected(20)


class Chunks(pf.BatchNode):
    """Fails as a whole, so that items are tried alone; notes what kind of items it was given."""

    def prep(self, shared: Any) -> Any:
        return SHAPES[shared["shape"]](range(20))

    def exec_chunk(self, items: Any) -> Any:
        if len(items) > 1:
            raise ValueError("one at a time")
        return [draw(items[0]) if type(items[0]) is not tuple else "a pair"]

    def exec_fallback(self, item: Any, error: Exception) -> Any:
        if type(item) is tuple:
            return "a pair"
        raise error

    def post(self, shared: Any, items: Any, results: Any) -> Any:
        return "done", {"numbers": results}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("model", [pf.run_batch, pf.run_parallel_batch])
def test_items_of_a_chunk_that_are_tried_alone_have_their_own_numbers(
    path: Path, monkeypatch: pytest.MonkeyPatch, model: Any, shape: str
) -> None:
    options = {"seed": SEED, "resume": path}
    monkeypatch.setenv("BROKEN", "1")
    found = model(Chunks, {"shape": shape}, on_error="collect", **options)["numbers"]
    failed = [one for one in found if isinstance(one, pf.Failure)]
    assert len(failed) == 5
    monkeypatch.delenv("BROKEN")
    assert [one.replay() for one in failed] == [expected(20)[one.index] for one in failed]
    assert model(Chunks, {"shape": shape}, **options)["numbers"] == expected(20)


def test_runs_of_a_flow_are_resumed_with_the_same_numbers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Inner(Draw):
        def exec_item(self, item: Any) -> Any:
            if self.params["n"] == 2 and is_broken():
                raise ValueError("not now")
            return pf.item_seed()

        def post(self, shared: Any, items: Any, results: Any) -> None:
            return None

    class Runs(pf.ParallelBatchFlow):
        def prep(self, shared: Any) -> Any:
            return [{"n": n} for n in range(4)]

        def post(self, shared: Any, runs: Any, results: Any) -> Any:
            shared["runs"] = results

    wanted = pf.run_batch(Runs(start=Inner()), seed=SEED)["runs"]
    monkeypatch.setenv("BROKEN", "1")
    with pytest.raises(ValueError, match="not now"):
        pf.run_batch(Runs(start=Inner()), seed=SEED, resume=path)
    monkeypatch.delenv("BROKEN")
    assert pf.run_parallel_batch(Runs(start=Inner()), seed=SEED, resume=path)["runs"] == wanted


def test_places_know_the_index_of_each_item() -> None:
    for indexes in (range(5), [3], [0, 1, 5, 6, 7, 9], [2, 4, 6], [10**12, 10**12 + 1]):
        assert [Places(indexes).index(at) for at in range(len(indexes))] == list(indexes)


# --- what is other work -------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "now"), [(1, 2), (None, 2), (1, None), (0, None)])
@pytest.mark.parametrize(
    ("model", "node"),
    [(pf.run_batch, Draw), (pf.run_async_parallel_batch, Draw), (pf.run_async_parallel_batch, DrawAsync)],
)
def test_a_journal_of_another_seed_is_of_other_work(
    path: Path, calls: Any, model: Any, node: Any, before: Any, now: Any
) -> None:
    class Notes(node):  # type: ignore[misc]
        exec_item = staticmethod(int)

        async def exec_item_async(self, item: Any) -> Any:
            return int(item)

    call(model, Notes, {}, seed=before, resume=path)
    kept = path.read_bytes()
    with pytest.raises(pf.JournalError, match=f"node Notes had seed={before} and has seed={now} now"):
        call(model, Notes, {}, seed=now, resume=path)
    assert path.read_bytes() == kept
    call(model, Notes, {}, seed=before, resume=path)


def test_the_seed_of_a_node_counts_as_that_of_a_call_does(path: Path) -> None:
    class Own(Draw):
        seed = SEED

    pf.run_batch(Own, resume=path)
    pf.run_batch(Own, resume=path, seed=SEED)
    with pytest.raises(pf.JournalError, match="had seed=7 and has seed=8 now"):
        pf.run_batch(Own, resume=path, seed=8)


def test_seeds_of_nodes_count_within_the_runs_of_a_flow(path: Path) -> None:
    def make(number: int) -> Any:
        class Own(Draw):
            seed = number

        class Runs(pf.ParallelBatchFlow):
            def prep(self, shared: Any) -> Any:
                return [{"n": 1}]

        return Runs(start=Own())

    pf.run_batch(make(1), resume=path)
    pf.run_batch(make(1), resume=path)
    with pytest.raises(pf.JournalError, match="has changed since"):
        pf.run_batch(make(2), resume=path)


def prepare(number: int) -> None:
    with open(os.environ["CALLS"], "a") as file:
        file.write(f"prepare-{number}\n")


def other(number: int) -> None:
    return None


@pytest.mark.parametrize(
    "changed",
    [
        {"initializer": prepare, "initargs": (2,)},
        {"initializer": other, "initargs": (1,)},
        {},
    ],
)
def test_a_journal_of_another_initializer_is_of_other_work(path: Path, calls: Any, changed: dict[str, Any]) -> None:
    pf.parallel_map(abs, range(3), resume=path, initializer=prepare, initargs=(1,))
    with pytest.raises(pf.JournalError, match="has changed since"):
        pf.parallel_map(abs, range(3), resume=path, **changed)


model: Any = None


def load() -> None:
    global model
    model = "loaded"


def use(item: int) -> Any:
    if item == 2 and is_broken():
        raise ValueError("not now")
    return f"{model} {item}"


def test_what_an_initializer_sets_is_no_change_of_the_code(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "model", None)
    options: dict[str, Any] = {"resume": path, "initializer": load, "executor": "serial"}
    monkeypatch.setenv("BROKEN", "1")
    with pytest.raises(ValueError, match="not now"):
        pf.parallel_map(use, range(4), **options)
    assert model == "loaded"
    monkeypatch.delenv("BROKEN")
    assert pf.parallel_map(use, range(4), **options) == [f"loaded {n}" for n in range(4)]


# --- what is called before ----------------------------------------------------------------------


async def stream_of(count: int) -> AsyncIterator[int]:
    for item in range(count):
        yield item


class Streams(pf.AsyncBatchNode):
    def prep(self, shared: Any) -> Any:
        return stream_of(shared["count"])

    async def exec_item_async(self, item: int) -> int:
        await asyncio.sleep(0)
        with open(os.environ["CALLS"], "a") as file:
            file.write(f"{item}\n")
        return item


@pytest.mark.parametrize("shape", ["list", "generator"])
@pytest.mark.parametrize("options", WAYS, ids=str)
def test_nothing_is_called_where_nothing_is_left(path: Path, calls: Any, shape: str, options: dict[str, Any]) -> None:
    options = {**options, "resume": path, "initializer": prepare, "initargs": (1,)}
    wanted = list(range(30))
    assert pf.parallel_map(abs, SHAPES[shape](range(30)), **options) == wanted
    pf.shutdown()  # the other worker may be about to call it still
    assert set(calls()) == {"prepare-1"}
    assert pf.parallel_map(abs, SHAPES[shape](range(30)), **options) == wanted
    assert calls() == []


def test_nothing_is_called_where_no_async_item_is_left(path: Path, calls: Any) -> None:
    options: dict[str, Any] = {"resume": path, "initializer": prepare, "initargs": (1,)}
    asyncio.run(pf.run_async_parallel_batch(Streams, {"count": 4}, **options))
    assert sorted(calls()) == ["0", "1", "2", "3", "prepare-1"]
    asyncio.run(pf.run_async_parallel_batch(Streams, {"count": 4}, **options))
    assert calls() == []
    asyncio.run(pf.run_async_parallel_batch(Streams, {"count": 6}, **options))
    assert sorted(calls()) == ["4", "5", "prepare-1"]


def test_a_journal_is_checked_before_anything_is_called(path: Path, calls: Any) -> None:
    pf.parallel_map(abs, range(3), resume=path, initializer=prepare, initargs=(1,))
    calls()
    with pytest.raises(pf.JournalError):
        pf.parallel_map(abs, range(4), resume=path, initializer=prepare, initargs=(1,), executor="serial")
    assert calls() == []


def fail() -> None:
    if is_broken():
        raise OSError("no model")


@pytest.mark.parametrize("concurrency", [1, 8])
def test_what_fails_before_the_missing_items_ends_the_call_and_keeps_the_journal(
    path: Path, calls: Any, monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    options: dict[str, Any] = {"resume": path, "initializer": fail, "max_concurrency": concurrency}
    asyncio.run(pf.run_async_parallel_batch(Streams, {"count": 3}, **options))
    monkeypatch.setenv("BROKEN", "1")
    with pytest.raises(pf.InitializerError, match="no model") as caught:
        asyncio.run(pf.run_async_parallel_batch(Streams, {"count": 9}, on_error="collect", **options))
    assert pf.partial(caught.value) == {n: pf.Value(n) for n in range(3)}
    monkeypatch.delenv("BROKEN")
    asyncio.run(pf.run_async_parallel_batch(Streams, {"count": 9}, **options))
    assert len(calls()) == 9


@pytest.mark.parametrize("options", WAYS, ids=str)
def test_what_fails_before_missing_items_leaves_the_journal_as_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    options = {**options, "resume": path, "initializer": fail}
    assert list(pf.parallel_imap(abs, iter(range(3)), **options)) == [0, 1, 2]
    monkeypatch.setenv("BROKEN", "1")
    with pytest.raises(pf.InitializerError, match="no model"):
        list(pf.parallel_imap(abs, iter(range(6)), **options))
    monkeypatch.delenv("BROKEN")
    assert list(pf.parallel_imap(abs, iter(range(6)), **options)) == list(range(6))
