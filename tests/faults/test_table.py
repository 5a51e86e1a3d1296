"""The table of faults: whatever one item does, the seven others are delivered and it is named with its cause.

The same in the six models and on every executor, as far as each can be harmed: what ends a process, cannot be
carried or does not end is a matter of worker processes. `bench/faults/cases.py` has the rows.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pocketflex as pf
from pocketflex._engine.by_value import ship_by_value

TOP = Path(__file__).parents[2]
sys.path.insert(0, str(TOP))
try:
    from bench.faults import cases
    from bench.faults.cases import BAD, CASES, COUNT, Case, Harm
finally:
    sys.path.remove(str(TOP))

for module in (cases, sys.modules[__name__]):
    ship_by_value(module)  # workers cannot import them

PATIENCE = 1.0  # seconds of `timeout`: the innocent items take none, on a machine that is not very busy
Way = Callable[..., list[Any]]

# --- the ways to run a function with items ------------------------------------------------------------


class Calls:
    """A batch of a function's calls: `shared` has the function and the items."""

    function: Callable[[Any], Any]

    def prep(self, shared: Any) -> Any:
        self.function = shared["function"]
        return shared["items"]

    def exec_item(self, item: Any) -> Any:
        return self.function(item)

    async def exec_item_async(self, item: Any) -> Any:
        await asyncio.sleep(0)
        return self.function(item)

    def post(self, shared: Any, items: Any, results: Any) -> Any:
        return "done", {"results": results}


class Batch(Calls, pf.BatchNode): ...  # type: ignore[misc,type-arg]


class Parallel(Calls, pf.ParallelBatchNode): ...  # type: ignore[misc,type-arg]


class Awaited(Calls, pf.AsyncBatchNode): ...  # type: ignore[misc,type-arg]


class AwaitedAtOnce(Calls, pf.AsyncParallelBatchNode): ...  # type: ignore[misc,type-arg]


def by_map(function: Any, items: Any, **options: Any) -> list[Any]:
    return pf.parallel_map(function, items, max_workers=2, **options)


def by_imap(function: Any, items: Any, **options: Any) -> list[Any]:
    return list(pf.parallel_imap(function, items, max_workers=2, **options))


def by(model: Any, node: type, **fixed: Any) -> Way:
    def run(function: Any, items: Any, **options: Any) -> list[Any]:
        shared = {"function": function, "items": items}
        done = model(node, shared, max_workers=2, **fixed, **options)
        results: list[Any] = (asyncio.run(done) if asyncio.iscoroutine(done) else done)["results"]
        return results

    return run


IN_WORKERS: dict[str, Way] = {
    "map": by_map,
    "imap": by_imap,
    "run": by(pf.run, Parallel),
    "run_parallel_batch": by(pf.run_parallel_batch, Batch),
    "run_async": by(pf.run_async, Parallel),
    "run_async_parallel_batch": by(pf.run_async_parallel_batch, Batch),
}
HERE: dict[str, Way] = {
    "run": by(pf.run, Batch),
    "run_batch": by(pf.run_batch, Parallel),
    "run_parallel_batch-threads": by(pf.run_parallel_batch, Batch, executor="threads"),
    "run_parallel_batch-serial": by(pf.run_parallel_batch, Batch, executor="serial"),
    "run_async": by(pf.run_async, Batch),
    "run_async_batch": by(pf.run_async_batch, Parallel),
    "run_async_parallel_batch-threads": by(pf.run_async_parallel_batch, Batch, executor="threads"),
    "run_async_parallel_batch-serial": by(pf.run_async_parallel_batch, Batch, executor="serial"),
    "run_async-loop": by(pf.run_async, Awaited),
    "run_async_batch-loop": by(pf.run_async_batch, AwaitedAtOnce),
    "run_async_parallel_batch-loop": by(pf.run_async_parallel_batch, Awaited),
    "joined": lambda function, items, **options: by_map(function, items, isolate=False, **options),
}

# --- what must come of each row ---------------------------------------------------------------------

# kind, type of the error, what its message says
EXPECTED: dict[str, tuple[str, type[BaseException], str]] = {
    "sigkill": ("crashed", pf.WorkerDiedError, "item 3 ended its worker process: SIGKILL .*memory"),
    "segfault": ("crashed", pf.WorkerDiedError, "item 3 ended its worker process: SIGSEGV .*segmentation fault"),
    "exit": ("crashed", pf.WorkerDiedError, "item 3 ended its worker process: exit code 0"),
    "system-exit": ("exception", SystemExit, "^4$"),
    "keyboard-interrupt": ("exception", KeyboardInterrupt, ""),
    "base-exception": ("exception", cases.OtherBase, ""),
    "generator-exit": ("exception", GeneratorExit, ""),
    "stop-iteration": ("exception", StopIteration, ""),
    "recursion": ("exception", RecursionError, "recursion"),
    "memory": ("exception", MemoryError, ""),
    "argument": ("unpicklable", pf.PayloadError, "item 3 cannot be sent to a worker: TypeError.*lock"),
    "argument-loading": ("unpicklable", pf.PayloadError, "item 3 cannot be unpickled in the worker: ValueError"),
    "result": ("unpicklable", pf.PayloadError, "the result of item 3 .lock. cannot be sent .*TypeError"),
    "result-loading": ("unpicklable", pf.PayloadError, "the result of item 3 cannot be unpickled in this process"),
    "exception": ("exception", pf.RemoteError, "Locked.*locked"),
    "exception-arguments": ("exception", cases.TwoArguments, "1 and 2"),
    "deep-result": ("unpicklable", pf.PayloadError, "the result of item 3 .list. cannot be sent .*RecursionError"),
    "hang": ("timeout", pf.ItemTimeoutError, "item 3 took longer than timeout=1 s"),
    "hang-in-c": ("timeout", pf.ItemTimeoutError, "item 3 took longer than timeout=1 s"),
}
OF_ITEMS = [name for name, case in CASES.items() if case.harm is Harm.ITEM]


def options_of(case: Case) -> dict[str, Any]:
    return {"timeout": PATIENCE} if case.harm is Harm.TIME else {}


def check(name: str, found: list[Any], *, error: type[BaseException] | None = None) -> None:
    """Seven are delivered in their places, and item 3 is named."""
    kind, expected, words = EXPECTED[name]
    assert found[:BAD] + found[BAD + 1 :] == [index for index in range(COUNT) if index != BAD], name
    failure = found[BAD]
    assert (failure.index, failure.kind) == (BAD, kind), (name, failure)
    assert failure.attempts == (2 if kind == "crashed" else 1)
    assert type(failure.error) is (error or expected), name
    assert error is not None or re.search(words, str(failure.error), re.S)
    assert any(f"item {BAD}" in note for note in failure.error.__notes__)


def run_row(name: str, run: Way) -> list[Any]:
    """Run a row, and see that the pool can be used afterwards."""
    case = CASES[name]
    found = run(case.function, case.items(), on_error="collect", **options_of(case))
    assert run(abs, range(COUNT)) == list(range(COUNT)), f"after {name}"
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_guilty_item_alone_is_lost(name: str) -> None:
    check(name, run_row(name, by_map))


@pytest.mark.parametrize("way", [way for way in IN_WORKERS if way != "map"])
def test_the_guilty_item_alone_is_lost_under_every_model(way: str) -> None:
    """All rows in turn, on one pool."""
    for name in CASES:
        if name != "hang":  # as the one that holds the interpreter, and takes as long
            check(name, run_row(name, IN_WORKERS[way]))


@pytest.mark.parametrize("way", HERE)
def test_in_this_process_the_guilty_item_alone_is_lost(way: str) -> None:
    """A KeyboardInterrupt is Ctrl-C here, and not the item's."""
    for name in OF_ITEMS:
        if name == "keyboard-interrupt":
            continue
        found = run_row(name, HERE[way])
        error: type[BaseException] | None = None
        if name == "exception" and (way != "joined" or type(found[BAD].error) is cases.Locked):
            error = cases.Locked  # it is not carried
        if name == "stop-iteration" and way.endswith("-loop"):
            error = RuntimeError  # a coroutine cannot raise it
        check(name, found, error=error)


@pytest.mark.parametrize("way", HERE)
def test_where_nothing_is_carried_nothing_fails(way: str) -> None:
    for name, case in CASES.items():
        may_be_carried = way == "joined" and name == "argument-loading"  # to a worker, which cannot load it
        if case.harm is Harm.CARRYING and not may_be_carried:
            found = run_row(name, HERE[way])
            assert not isinstance(found[BAD], pf.Failure), name
            assert found[:BAD] + found[BAD + 1 :] == [index for index in range(COUNT) if index != BAD], name


@pytest.mark.parametrize("name", [name for name in CASES if name != "hang"])
def test_the_error_of_the_guilty_item_is_raised(name: str) -> None:
    case = CASES[name]
    _, expected, words = EXPECTED[name]
    with pytest.raises(expected) as caught:
        by_map(case.function, case.items(), **options_of(case))
    assert re.search(words, str(caught.value), re.S)
    assert any(f"item {BAD}" in note for note in caught.value.__notes__)
    assert by_map(abs, range(COUNT)) == list(range(COUNT))
