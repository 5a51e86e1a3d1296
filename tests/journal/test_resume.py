"""`resume`: what is computed, what is not, and what is refused, the same in every model and on every executor."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pocketflex as pf
from pocketflex import aio, models
from pocketflex._engine.by_value import ship_by_value
from pocketflex.observe.report import Report

ship_by_value(sys.modules[__name__])

EXECUTORS = ["serial", "threads", "processes"]
SHAPES: dict[str, Any] = {
    "list": list,
    "tuple": tuple,
    "array": np.array,
    "generator": lambda items: (item for item in items),
    "set": lambda items: dict.fromkeys(items).keys(),
}


def note(text: Any) -> None:
    with open(os.environ["CALLS"], "a") as file:
        file.write(f"{text}\n")


def is_broken() -> bool:
    return "BROKEN" in os.environ


def square(n: Any) -> Any:
    note(n)
    if n in (3, 4, 9) and is_broken():
        raise ValueError(f"not now: {n}")
    return n * n


def exits(n: int) -> Any:
    note(n)
    if n == 3 and is_broken():
        os._exit(7)
    return n


def strings(*numbers: int) -> list[str]:
    return [str(number) for number in numbers]


ALL = strings(*range(12))


# --- what is missing ----------------------------------------------------------------------------


@pytest.mark.parametrize("isolate", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_failed_is_computed_again_and_nothing_else(
    path: Path, calls: Any, monkeypatch: pytest.MonkeyPatch, executor: str, shape: str, isolate: bool
) -> None:
    options: dict[str, Any] = {"executor": executor, "isolate": isolate, "resume": path, "on_error": "collect"}
    make = SHAPES[shape]
    monkeypatch.setenv("BROKEN", "1")
    first = pf.parallel_map(square, make(range(12)), **options)
    assert [outcome.index for outcome in first if isinstance(outcome, pf.Failure)] == [3, 4, 9]
    assert calls() == ALL
    again = pf.parallel_map(square, make(range(12)), **options)  # failures keep their own indexes
    assert [outcome.index for outcome in again if isinstance(outcome, pf.Failure)] == [3, 4, 9]
    assert all("item 4" in note for note in again[4].error.__notes__)
    assert calls() == strings(3, 4, 9)
    monkeypatch.delenv("BROKEN")
    assert pf.parallel_map(square, make(range(12)), **options) == [n * n for n in range(12)]
    assert calls() == strings(3, 4, 9)
    last = pf.parallel_map(square, make(range(12)), **options)
    assert last == [n * n for n in range(12)]
    assert {type(result) for result in last} == {np.int64 if shape == "array" else int}
    assert calls() == []


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_streams_keep_their_order_or_have_none(
    path: Path, calls: Any, monkeypatch: pytest.MonkeyPatch, executor: str, ordered: bool
) -> None:
    options: dict[str, Any] = {"executor": executor, "ordered": ordered, "resume": path, "on_error": "skip"}
    monkeypatch.setenv("BROKEN", "1")
    assert sorted(pf.parallel_imap(square, iter(range(12)), **options)) == [0, 1, 4, 25, 36, 49, 64, 100, 121]
    monkeypatch.delenv("BROKEN")
    calls()
    found = list(pf.parallel_imap(square, iter(range(12)), **options))
    assert (found if ordered else sorted(found)) == [n * n for n in range(12)]
    assert calls() == strings(3, 4, 9)
    found = list(pf.parallel_imap(square, list(range(12)), **options))
    assert (found if ordered else sorted(found)) == [n * n for n in range(12)]
    assert calls() == []


def test_raising_keeps_what_came_before(path: Path, calls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKEN", "1")
    with pytest.raises(ValueError, match="not now: 3") as caught:
        pf.parallel_map(square, range(12), executor="serial", resume=path)
    assert caught.value.__notes__ == ["parallel_map(square), item 3, attempt 1"]
    assert calls() == strings(0, 1, 2, 3)
    monkeypatch.delenv("BROKEN")
    assert pf.parallel_map(square, range(12), executor="serial", resume=path) == [n * n for n in range(12)]
    assert calls() == strings(*range(3, 12))


@pytest.mark.parametrize("output", ["list", "array"])
def test_the_output_may_be_an_array_in_one_run_and_a_list_in_the_next(path: Path, calls: Any, output: str) -> None:
    first = pf.parallel_map(square, range(12), output=output, resume=path)
    calls()
    array = pf.parallel_map(square, range(12), output="array", resume=path)
    assert array.tolist() == list(first) == [n * n for n in range(12)]
    assert array.dtype == np.int64
    listed = pf.parallel_map(square, range(12), resume=path)
    assert {type(result) for result in listed} == {int}
    assert calls() == []


@pytest.mark.parametrize("executor", EXECUTORS)
def test_rows_stay_rows(path: Path, executor: str) -> None:
    rows = np.arange(24.0).reshape(12, 2)
    first = pf.parallel_map(sum_row, rows, executor=executor, resume=path)
    assert pf.parallel_map(sum_row, rows, executor=executor, resume=path, output="array").tolist() == first
    assert type(first[0]) is np.float64


def sum_row(row: Any) -> Any:
    return row.sum()


class Chunked(pf.BatchNode):
    def prep(self, shared: Any) -> Any:
        return shared["items"]

    def exec_chunk(self, items: Any) -> Any:
        note(type(items).__name__)
        if is_broken() and 5 in list(items):
            raise ValueError("five")
        return [item + 1 for item in items]

    def post(self, shared: Any, items: Any, results: Any) -> Any:
        return "done", {"results": results}


@pytest.mark.parametrize("run", [pf.run, pf.run_parallel_batch])
def test_chunks_are_made_of_what_is_missing(path: Path, calls: Any, monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    shared = {"items": np.arange(10)}
    monkeypatch.setenv("BROKEN", "1")
    run(Chunked, shared, resume=path, on_error="skip")
    monkeypatch.delenv("BROKEN")
    calls()
    assert run(Chunked, shared, resume=path)["results"] == list(range(1, 11))
    assert calls() == ["ndarray"]


def test_messages_of_the_engine_name_the_item_of_the_whole_input(
    path: Path, calls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKEN", "1")
    for _ in range(2):
        crashed = pf.parallel_map(exits, range(5), on_error="collect", resume=path)
        assert (crashed[3].index, crashed[3].kind) == (3, "crashed")
        assert str(crashed[3].error) == "item 3 ended its worker process: exit code 7"
        assert [result for result in crashed if result is not crashed[3]] == [0, 1, 2, 4]


def test_an_input_that_fails_is_told_once_what_came_before_is_there(path: Path, calls: Any) -> None:
    def numbers() -> Iterator[int]:
        yield from range(5)
        raise KeyError("the end")

    for expected in (strings(*range(5)), []):
        stream = pf.parallel_imap(square, numbers(), executor="serial", resume=path)
        assert [next(stream) for _ in range(5)] == [0, 1, 4, 9, 16]
        with pytest.raises(KeyError, match="the end"):
            next(stream)
        assert calls() == expected


def test_an_endless_stream_goes_on_where_it_was(path: Path, calls: Any) -> None:
    for stop in (20, 50):
        stream = pf.parallel_imap(square, itertools.count(), executor="serial", resume=path)
        assert [next(stream) for _ in range(stop)] == [n * n for n in range(stop)]
        stream.close()
    assert calls() == strings(*range(50))


def test_results_are_kept_before_their_turn(path: Path, calls: Any) -> None:
    """A slow item must not keep what others have finished from the journal."""
    gate = threading.Event()

    def wait(n: int) -> int:
        note(n)
        if n == 0 and not gate.wait(30):
            raise TimeoutError
        if n == 7:
            gate.set()
        if n == 0:
            raise ValueError("after all")
        return n

    with pytest.raises(ValueError, match="after all"):
        pf.parallel_map(wait, range(8), executor="threads", max_workers=2, resume=path)
    assert calls() == strings(*range(8))
    with pytest.raises(ValueError, match="after all"):
        pf.parallel_map(wait, range(8), executor="threads", max_workers=2, resume=path)
    assert calls() == ["0"]


def test_a_slow_worker_does_not_keep_the_results_of_others_either(path: Path, tmp_path: Path, journalled: Any) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def wait(n: int) -> int:
        if n == 0:
            fifo.read_text()  # ends when item 9 has run
            raise ValueError("after all")
        if n == 9:
            fifo.write_text("x")
        return n

    with pytest.raises(ValueError, match="after all"):
        pf.parallel_map(wait, range(10), max_workers=2, chunksize=1, resume=path)
    assert journalled(path) >= 5  # the last may not have been told yet


# --- models -------------------------------------------------------------------------------------


def posted(shared: Any, results: Any) -> dict[str, Any]:
    numbers = [n % 12 for n in results if isinstance(n, int)]
    return {**shared, "numbers": numbers, "all": [*shared.get("all", []), results]}


class Squares(pf.BatchNode):
    def prep(self, shared: Any) -> Any:
        return shared["numbers"]

    def exec_item(self, n: Any) -> Any:
        return square(n)

    def post(self, shared: Any, items: Any, results: Any) -> Any:
        return "done", posted(shared, results)


class Again(Squares):
    def post(self, shared: Any, items: Any, results: Any) -> Any:
        _, shared = super().post(shared, items, results)
        return "again" if len(shared["all"]) < 3 else "done", shared


class AsyncSquares(pf.AsyncBatchNode):
    async def prep_async(self, shared: Any) -> Any:
        return shared["numbers"]

    async def exec_item_async(self, n: Any) -> Any:
        await asyncio.sleep(0)
        return square(n)

    async def post_async(self, shared: Any, items: Any, results: Any) -> Any:
        return "done", posted(shared, results)


SYNC = ["run", "batch", "parallel-batch"]
ASYNC = ["async", "async-batch", "async-parallel-batch"]


def loop_flow(kind: Any = Again) -> pf.Flow[Any]:
    first, last = kind(), Squares()
    flow: pf.Flow[Any] = pf.Flow(start=first)
    flow.connect(first, first, "again").connect(first, last, "done")
    return flow


def async_flow() -> pf.Flow[Any]:
    first, last = AsyncSquares(), Squares()
    return pf.AsyncFlow(start=first).connect(first, last, "done")


def run_model(model: str, flow: Any, shared: Any, **options: Any) -> tuple[Any, Report]:
    report = Report()
    if model in SYNC:
        return models.execute(flow, shared, model, options, report), report
    return aio.complete(flow, shared, model, options, report), report


@pytest.mark.parametrize(
    ("model", "make"), [(m, loop_flow) for m in SYNC + ASYNC] + [(m, async_flow) for m in ASYNC], ids=str
)
def test_a_flow_has_one_journal_for_all_its_batches(path: Path, calls: Any, model: str, make: Any) -> None:
    shared = {"numbers": list(range(8))}
    plain, report = run_model(model, make(), shared)
    total = len(report.batches) * 8
    assert len(calls()) == total
    assert run_model(model, make(), shared, resume=path)[0] == plain
    assert len(calls()) == total
    again, report = run_model(model, make(), shared, resume=str(path))
    assert again == plain
    assert calls() == []
    assert [batch.resumed for batch in report.batches] == [8] * (total // 8)
    assert [batch.items for batch in report.batches] == [8] * (total // 8)


@pytest.mark.parametrize("model", SYNC + ASYNC)
def test_a_node_can_have_its_own_journal(path: Path, calls: Any, model: str) -> None:
    class Kept(Squares):
        resume = str(path)

    flow = pf.Flow(start=Kept)
    for expected in (strings(*range(5)), []):
        assert run_model(model, flow, {"numbers": range(5)})[0]["all"] == [[0, 1, 4, 9, 16]]
        assert calls() == expected
    assert run_model(model, flow, {"numbers": range(5)}, resume=None)[0]["all"]
    assert calls() == strings(*range(5))
    shared = {"numbers": range(5)}
    flow.run(shared)  # PocketFlow's way
    assert calls() == []


def test_models_share_a_journal(path: Path, calls: Any) -> None:
    shared = {"numbers": list(range(8))}
    found = [run_model(model, loop_flow(), shared, resume=path)[0] for model in SYNC + ASYNC]
    assert all(state == found[0] for state in found)
    assert len(calls()) == 32


@pytest.mark.parametrize("model", ASYNC)
def test_async_batches_keep_what_succeeded(path: Path, calls: Any, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.setenv("BROKEN", "1")
    shared = {"numbers": list(range(12))}
    first, _ = run_model(model, AsyncSquares(), shared, resume=path, on_error="collect", max_concurrency=4)
    assert [outcome.index for outcome in first["all"][0] if isinstance(outcome, pf.Failure)] == [3, 4, 9]
    assert calls() == ALL
    monkeypatch.delenv("BROKEN")
    again, report = run_model(model, AsyncSquares(), shared, resume=path, timeout=30)
    assert again["all"] == [[n * n for n in range(12)]]
    assert calls() == strings(3, 4, 9)
    assert report.batches[0].resumed == 9


def test_async_streams_are_resumed(path: Path, calls: Any) -> None:
    class Streams(AsyncSquares):
        async def prep_async(self, shared: Any) -> Any:
            async def numbers() -> AsyncIterator[int]:
                for n in range(5):
                    yield n

            return numbers()

        async def post_async(self, shared: Any, items: Any, results: Any) -> Any:
            return "done", {"results": results}

    for expected in (strings(*range(5)), []):
        assert asyncio.run(pf.run_async_parallel_batch(Streams, resume=path))["results"] == [0, 1, 4, 9, 16]
        assert calls() == expected


def test_a_cancelled_call_keeps_what_was_done(path: Path, calls: Any) -> None:
    class Stops(AsyncSquares):
        async def exec_item_async(self, n: Any) -> Any:
            if n == 3 and is_first:
                await asyncio.Event().wait()
            if n == 4 and is_first:
                raise asyncio.CancelledError
            return square(n)

    is_first = True

    async def cancel() -> None:
        task = asyncio.create_task(pf.run_async_batch(Stops, {"numbers": range(6)}, resume=path))
        while len(open_calls()) < 3:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def open_calls() -> list[str]:
        return Path(os.environ["CALLS"]).read_text().split()

    asyncio.run(cancel())
    assert calls() == strings(0, 1, 2)


class Part(pf.BatchNode):
    def prep(self, shared: Any) -> Any:
        return [self.params["n"] * 10 + k for k in range(3)]

    def exec_item(self, n: Any) -> Any:
        return square(n)

    def post(self, shared: Any, items: Any, results: Any) -> Any:
        shared.setdefault("seen", {})[self.params["n"]] = results


class Runs:
    def prep(self, shared: Any) -> Any:
        return [{"n": n} for n in (0, 1, 2, 1)]

    async def prep_async(self, shared: Any) -> Any:
        return self.prep(shared)

    def post(self, shared: Any, items: Any, results: Any) -> Any:
        return "done", {**shared, "runs": results}

    async def post_async(self, shared: Any, items: Any, results: Any) -> Any:
        return self.post(shared, items, results)


class InOrder(Runs, pf.BatchFlow):
    pass


class AtOnce(Runs, pf.ParallelBatchFlow):
    pass


class AsyncInOrder(Runs, pf.AsyncBatchFlow):
    pass


class AsyncAtOnce(Runs, pf.AsyncParallelBatchFlow):
    pass


@pytest.mark.parametrize(
    ("kind", "model"),
    [(kind, model) for kind in (InOrder, AtOnce) for model in SYNC + ASYNC]
    + [(kind, model) for kind in (AsyncInOrder, AsyncAtOnce) for model in ASYNC],
)
def test_flows_that_run_many_times_are_resumed(path: Path, calls: Any, kind: Any, model: str) -> None:
    """Each run has its own sections; where runs change `shared`, not they are kept but the batches in them."""
    plain = run_model(model, kind(start=Part()), {})[0]
    computed = calls()
    assert len(computed) == 12
    assert run_model(model, kind(start=Part()), {}, resume=path)[0] == plain
    assert calls() == computed
    assert run_model(model, kind(start=Part()), {}, resume=path)[0] == plain
    assert calls() == []


def test_the_runs_of_a_parallel_flow_depend_on_what_is_shared(path: Path, calls: Any) -> None:
    pf.run_parallel_batch(AtOnce(start=Part()), {"limit": 1}, resume=path)
    with pytest.raises(pf.JournalError, match=r"the code of node AtOnce has changed since \(shared\['limit'\]\)"):
        pf.run_parallel_batch(AtOnce(start=Part()), {"limit": 2}, resume=path)


# --- what is refused ----------------------------------------------------------------------------


def cube(n: int) -> int:
    note(n)
    return n**3


def test_a_journal_of_other_work_is_refused_before_anything_runs(path: Path, calls: Any) -> None:
    pf.parallel_map(square, range(5), executor="serial", resume=path)
    calls()
    refused = r"run\.journal is the journal of parallel_map\(square\), not of parallel_map\(cube\): each call needs one"
    with pytest.raises(pf.JournalError, match=refused):
        pf.parallel_map(cube, range(5), executor="serial", resume=path)
    assert calls() == []


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([0, 1, 2, 3, 5], "among the items of .* that are still to be computed there are others than before"),
        ([0, 1, 5, 3, 4], r"item 2 of parallel_map\(square\) is not the one whose result was written"),
        ([0, 1, 2.0, 3, 4], r"item 2 of parallel_map\(square\) is not the one"),
        ([0, 1, 2, 3], r"had 5 items and has 4 now"),
        ([0, 1, 2, 3, 4, 5], r"had 5 items and has 6 now"),
    ],
)
def test_other_items_are_refused_before_anything_runs(
    path: Path, calls: Any, monkeypatch: pytest.MonkeyPatch, items: list[Any], message: str
) -> None:
    monkeypatch.setenv("BROKEN", "1")
    pf.parallel_map(square, [0, 1, 2, 3, 4], executor="serial", resume=path, on_error="skip")
    calls()
    with pytest.raises(pf.JournalError, match=message):
        pf.parallel_map(square, items, executor="serial", resume=path)
    assert calls() == []


def test_another_item_of_a_stream_is_refused_when_it_comes(path: Path, calls: Any) -> None:
    list(pf.parallel_imap(square, iter([0, 1, 2]), executor="serial", resume=path))
    stream = pf.parallel_imap(square, iter([0, 7, 2]), executor="serial", resume=path)
    with pytest.raises(pf.JournalError, match="item 1 of"):
        list(stream)


def test_an_item_of_an_async_stream_that_is_refused_has_not_finished(path: Path, calls: Any) -> None:
    async def numbers(*listed: int) -> AsyncIterator[int]:
        for n in listed:
            yield n

    class Streams(AsyncSquares):
        async def prep_async(self, shared: Any) -> Any:
            return numbers(*shared["numbers"])

    asyncio.run(pf.run_async(Streams, {"numbers": [0, 1, 2]}, resume=path))
    with pytest.raises(pf.JournalError, match="item 1 of") as caught:
        asyncio.run(pf.run_async(Streams, {"numbers": [0, 7, 2]}, resume=path))
    assert pf.partial(caught.value) == {0: pf.Value(0)}


def test_an_async_batch_refuses_too(path: Path, calls: Any) -> None:
    asyncio.run(pf.run_async(AsyncSquares, {"numbers": [1, 2]}, resume=path))
    calls()
    with pytest.raises(pf.JournalError, match="item 1 of node AsyncSquares is not the one"):
        asyncio.run(pf.run_async(AsyncSquares, {"numbers": [1, 3]}, resume=path))
    assert calls() == []


@pytest.mark.parametrize("model", SYNC + ASYNC)
def test_a_journal_that_cannot_be_used_is_refused_before_prep(tmp_path: Path, calls: Any, model: str) -> None:
    class Loud(Squares):
        def prep(self, shared: Any) -> Any:
            note("prep")
            return []

    with pytest.raises(pf.JournalError, match="Is a directory"):
        run_model(model, Loud(), {}, resume=tmp_path)
    assert calls() == []


@pytest.mark.parametrize("wrong", [5, "", b"run.journal", True, ["run.journal"]])
def test_a_wrong_path_is_an_option_error(wrong: Any) -> None:
    with pytest.raises(pf.OptionError, match=r"resume=.*: it must be the path of a file"):
        pf.parallel_map(abs, [1], resume=wrong)
    with pytest.raises(pf.OptionError, match="resume="):
        pf.run(Squares(), {"numbers": []}, resume=wrong)


# --- what has no data format --------------------------------------------------------------------


def as_path(n: int) -> Any:
    note(n)
    return Path(str(n)) if n != 1 else {"one": 1}


def test_what_has_no_data_format_is_delivered_and_computed_again(
    path: Path, calls: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for expected in (strings(0, 1, 2), strings(0, 2)):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "pocketflex"):
            found = pf.parallel_map(as_path, range(3), resume=path)
        assert found == [Path("0"), {"one": 1}, Path("2")]
        assert calls() == expected
        assert [record.message for record in caplog.records] == [
            "parallel_map(as_path): results that are or hold a PosixPath are not in the journal and are computed "
            "again; resume=pf.Journal(path, pickle=True) keeps them"
        ]


def test_items_without_a_digest_are_computed_again(path: Path, calls: Any, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        items = [1, threading.Lock(), threading.Lock()]
        with caplog.at_level(logging.WARNING, "pocketflex"):
            found = pf.parallel_map(lambda item: note("x") or 5, items, executor="threads", resume=path)
        assert found == [5, 5, 5]
    assert calls() == ["x"] * 5
    assert "items without a digest, such as item 1, are not in the journal" in caplog.text


@pytest.mark.parametrize("executor", [*EXECUTORS, "async"])
def test_progress_counts_what_was_resumed(
    path: Path, calls: Any, executor: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        if executor == "async":
            asyncio.run(pf.run_async(AsyncSquares, {"numbers": range(20)}, resume=path, progress=True))
        else:
            pf.parallel_map(square, range(20), executor=executor, resume=path, progress=True)
        assert "20/20" in capsys.readouterr().err
    assert len(calls()) == 20


def test_what_items_log_names_them_as_the_input_does(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also where they are no longer the first ones, because a journal has those before."""

    def work(n: int) -> int:
        if n == 7 and (tmp_path / "fails").exists():
            raise ValueError(n)
        logging.getLogger("said").warning("item %d", n)
        return n

    (tmp_path / "fails").touch()
    journal = tmp_path / "run.journal"
    pf.parallel_map(work, range(9), max_workers=2, resume=journal, on_error="collect")
    (tmp_path / "fails").unlink()
    caplog.clear()
    assert pf.parallel_map(work, range(9), max_workers=2, resume=journal) == list(range(9))
    assert [(record.getMessage(), vars(record)["pocketflex_item"]) for record in caplog.records] == [("item 7", 7)]
