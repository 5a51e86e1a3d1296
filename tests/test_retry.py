"""`Retry`: what is tried again, when, and on every executor and model alike; a wait in a worker holds no worker."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

import pocketflex as pf
from pocketflex import call as call_module
from pocketflex._engine.by_value import ship_by_value
from pocketflex.aio import tasks as tasks_module
from pocketflex.call import FRESH, Call, Later
from pocketflex.retry import begin_attempt, current_attempt

ship_by_value(sys.modules[__name__])  # pytest loads this file by its path, so workers cannot import it

EXECUTORS = ("serial", "threads", "processes")
RunScript = Callable[..., Any]


def log(path: Path, text: object) -> None:
    """Append a line, in one write: from any process."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{text}\n".encode())
    os.close(fd)


# --- the value ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"attempts": 0}, "attempts"),
        ({"attempts": 1.0}, "attempts"),
        ({"attempts": True}, "attempts"),
        ({"attempts": 1 << 40}, "attempts"),
        ({"wait": -1}, "wait"),
        ({"wait": float("nan")}, "wait"),
        ({"wait": "1"}, "wait"),
        ({"backoff": 0.5}, "backoff"),
        ({"backoff": float("inf")}, "backoff"),
        ({"max_wait": -1}, "max_wait"),
        ({"jitter": 1.1}, "jitter"),
        ({"jitter": -0.1}, "jitter"),
        ({"on": ()}, "on"),
        ({"on": SystemExit}, "on"),
        ({"on": (ValueError, "x")}, "on"),
        ({"on": None}, "on"),
    ],
)
def test_a_wrong_value_is_named_with_what_it_must_be(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises(pf.OptionError, match=f"^{name}=.*: it "):
        pf.Retry(**wrong)


@pytest.mark.parametrize(
    ("retry", "pauses"),
    [
        (pf.Retry(9), [0, 0, 0]),
        (pf.Retry(9, 2), [2, 2, 2]),
        (pf.Retry(9, 2, backoff=3), [2, 6, 18]),
        (pf.Retry(9, 2, backoff=3, max_wait=7), [2, 6, 7]),
        (pf.Retry(9, 2, max_wait=0), [0, 0, 0]),
    ],
)
def test_waits_grow_up_to_their_limit(retry: pf.Retry, pauses: list[float]) -> None:
    assert [retry.pause(attempts) for attempts in (1, 2, 3)] == pauses
    assert retry.waits == any(pauses)


def test_a_wait_beyond_what_a_float_can_be_is_the_longest() -> None:
    assert pf.Retry(10**6, 1, backoff=10).pause(10**5) == 1e9
    assert pf.Retry(10**6, 1, backoff=10, max_wait=60).pause(10**5) == 60


def test_a_part_of_a_wait_is_left_to_chance_and_no_generator_of_the_users_is_touched() -> None:
    import random

    random.seed(1)
    state = random.getstate()
    pauses = [pf.Retry(2, 8, jitter=0.25).pause(1) for _ in range(400)]
    assert 6 <= min(pauses) < 6.5
    assert 7.5 < max(pauses) <= 8
    assert len(set(pauses)) == 400
    assert random.getstate() == state


@pytest.mark.parametrize(
    ("on", "again", "not_again"),
    [
        (Exception, ValueError(), None),
        (OSError, ConnectionError(), ValueError()),
        ((OSError, KeyError), KeyError(), ValueError()),
        (lambda error: "busy" in str(error), ValueError("busy"), ValueError("gone")),
    ],
)
def test_what_is_tried_again(on: Any, again: Exception, not_again: Exception | None) -> None:
    retry = pf.Retry(3, on=on)
    assert [retry.goes_on(attempts, again) for attempts in (1, 2, 3)] == [True, True, False]
    assert not_again is None or not retry.goes_on(1, not_again)


def test_it_is_a_value() -> None:
    retry = pf.Retry(3, 0.5, backoff=2, on=(OSError, KeyError))
    assert retry == pf.Retry(3, 0.5, backoff=2, on=(OSError, KeyError))
    assert hash(retry) == hash(pickle.loads(pickle.dumps(retry)))
    assert pickle.loads(pickle.dumps(retry)) == retry


# --- one item ----------------------------------------------------------------------------------


def test_between_two_attempts_that_need_no_wait_nothing_is_told() -> None:
    def work(item: int) -> int:
        if current_attempt() < item:
            raise ValueError
        return current_attempt()

    assert Call(work, pf.Retry(3)).try_on(0, 2, None, FRESH) == pf.Value(2)
    found = Call(work, pf.Retry(3, 1.5)).try_on(0, 2, None, FRESH)
    assert isinstance(found, Later)
    assert (found.attempts, found.pause) == (1, 1.5)
    assert Call(work, pf.Retry(3, 1.5)).try_on(0, 2, None, found._replace(attempts=2)) == pf.Value(2)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_is_not_to_be_tried_again_fails_at_once_and_the_fallback_is_asked(executor: str) -> None:
    class Fussy(pf.ParallelBatchNode[Any, Any, Any]):
        retry = pf.Retry(5, on=(OSError,))

        def prep(self, shared: Any) -> Any:
            return [OSError, ValueError, SystemExit]

        def exec_item(self, kind: Any) -> Any:
            raise kind(f"attempt {self.cur_retry}")

        def exec_fallback(self, kind: Any, exc: Exception) -> Any:
            return f"{type(exc).__name__} at {exc}"

        def post(self, shared: Any, items: Any, results: Any) -> Any:
            return "done", {"results": results}

    *fallen_back, failure = pf.run_parallel_batch(Fussy(), executor=executor, on_error="collect")["results"]
    assert fallen_back == ["OSError at attempt 4", "ValueError at attempt 0"]
    assert (failure.attempts, type(failure.error)) == (1, SystemExit)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_function_that_says_what_is_tried_again_may_itself_fail(executor: str) -> None:
    def broken(error: Exception) -> bool:
        raise LookupError("broken")

    def work(item: int) -> int:
        return 1 // item

    fine, failure = pf.parallel_map(work, [1, 0], retry=pf.Retry(3, on=broken), executor=executor, on_error="collect")
    assert fine == 1
    assert (type(failure.error), failure.attempts) == (LookupError, 1)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_failure_counts_the_attempts_that_were_made(executor: str) -> None:
    def work(item: int) -> None:
        raise (OSError if current_attempt() < item else ValueError)

    failures = pf.parallel_map(work, [0, 1, 9], retry=pf.Retry(3, on=OSError), executor=executor, on_error="collect")
    assert [failure.attempts for failure in failures] == [1, 2, 3]


# --- everywhere the same -----------------------------------------------------------------------


def flaky(item: int) -> tuple[int, int]:
    if current_attempt() < item % 3:
        raise ValueError(item)
    return item, current_attempt()


def flaky_chunk(items: Any) -> list[tuple[int, int]]:
    return [flaky(int(item)) for item in items]


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("options", [{}, {"isolate": False}, {"timeout": 60}, {"ordered": False}, {"chunksize": 4}])
@pytest.mark.parametrize("wait", [0, 0.001])
def test_every_item_has_all_of_its_attempts(executor: str, options: dict[str, Any], wait: float) -> None:
    retry = pf.Retry(3, wait, backoff=2, jitter=0.5)
    found = pf.parallel_map(flaky, range(40), executor=executor, retry=retry, max_workers=2, **options)
    assert sorted(found) == [(n, n % 3) for n in range(40)]
    streamed = pf.parallel_imap(flaky, iter(range(40)), executor=executor, retry=retry, max_workers=2, **options)
    assert sorted(streamed) == [(n, n % 3) for n in range(40)]


@pytest.mark.parametrize("count", [1, 2])
def test_a_single_item_has_all_of_its_attempts(count: int) -> None:
    pf.parallel_map(abs, range(8), max_workers=2)  # so that there are idle workers
    for wait in (0, 0.001):
        assert pf.parallel_map(flaky, [2] * count, retry=pf.Retry(3, wait)) == [(2, 2)] * count


class Flaky(pf.BatchNode[Any, Any, Any]):
    def prep(self, shared: Any) -> Any:
        return range(12)

    def exec_item(self, item: int) -> Any:
        assert self.cur_retry == current_attempt()
        return flaky(item)

    def post(self, shared: Any, items: Any, results: Any) -> Any:
        return "done", {"results": results}


class FlakyChunks(Flaky):
    def exec_chunk(self, items: Any) -> Any:
        return flaky_chunk(items)


class AsyncFlaky(pf.AsyncBatchNode[Any, Any, Any]):
    def prep(self, shared: Any) -> Any:
        return range(12)

    async def exec_item_async(self, item: int) -> Any:
        return flaky(item)

    def post(self, shared: Any, items: Any, results: Any) -> Any:
        return "done", {"results": results}


MODELS: dict[str, Callable[..., Any]] = {
    "run": pf.run,
    "run_batch": pf.run_batch,
    "run_parallel_batch": pf.run_parallel_batch,
    "run_async": lambda *args, **options: asyncio.run(pf.run_async(*args, **options)),
    "run_async_batch": lambda *args, **options: asyncio.run(pf.run_async_batch(*args, **options)),
    "run_async_parallel_batch": lambda *args, **options: asyncio.run(pf.run_async_parallel_batch(*args, **options)),
}
CELLS = [(kind, model) for kind in (Flaky, FlakyChunks, AsyncFlaky) for model in MODELS]


@pytest.mark.parametrize(("kind", "model"), [cell for cell in CELLS if cell[0] is not AsyncFlaky or "async" in cell[1]])
@pytest.mark.parametrize("wait", [0, 0.001])
def test_retries_are_the_same_under_every_model(kind: Any, model: str, wait: float) -> None:
    assert MODELS[model](kind(retry=pf.Retry(3, wait)))["results"] == [(n, n % 3) for n in range(12)]


@pytest.mark.parametrize(("kind", "model"), [(Flaky, "run"), (Flaky, "run_parallel_batch"), (AsyncFlaky, "run_async")])
@pytest.mark.parametrize("where", ["old", "class", "call"])
def test_retries_are_the_same_wherever_they_are_given(kind: Any, model: str, where: str) -> None:
    retry = pf.Retry(3, 0.001)
    options = {"retry": retry} if where == "call" else {}
    with_class = type(kind.__name__, (kind,), {"retry": retry})
    ways = {"old": lambda: kind(3, 0.001), "class": with_class, "call": kind}
    assert MODELS[model](ways[where](), **options)["results"] == [(n, n % 3) for n in range(12)]


def test_the_retry_of_a_call_wins_over_that_of_a_node() -> None:
    for node in (Flaky(max_retries=1), Flaky(retry=pf.Retry(1))):
        assert pf.run_batch(node, retry=pf.Retry(3))["results"][2] == (2, 2)
    with pytest.raises(ValueError, match="1"):
        pf.run_batch(Flaky(max_retries=3), retry=pf.Retry(1))


def test_the_runs_of_a_batch_flow_are_not_tried_again_but_the_items_in_them_are(tmp_path: Path) -> None:
    class Runs(pf.ParallelBatchFlow[Any]):
        def prep(self, shared: Any) -> Any:
            return [{}, {}]

    class Logged(Flaky):
        def prep(self, shared: Any) -> Any:
            log(tmp_path / "log", "run")
            return range(3)

    pf.run_batch(Runs(start=Logged()), retry=pf.Retry(3))
    assert (tmp_path / "log").read_text().split() == ["run", "run"]


# --- how it is given ---------------------------------------------------------------------------


@pytest.mark.parametrize("old", [{"max_retries": 2}, {"wait": 1}, {"max_retries": 1, "wait": 1}])
def test_both_ways_at_once_are_refused(old: dict[str, Any]) -> None:
    with pytest.raises(pf.OptionError, match="give one or the other"):
        pf.Node(**old, retry=pf.Retry(3))
    both = type("Both", (pf.Node,), {"retry": pf.Retry(3), **old})
    with pytest.raises(pf.OptionError, match="give one or the other"):
        both()


def test_what_the_object_says_wins_over_its_class() -> None:
    class Old(pf.Node):
        max_retries = 3

    class New(pf.Node):
        retry = pf.Retry(5, 1)

    assert Old(retry=pf.Retry(2))._call().retry == pf.Retry(2)
    assert New(max_retries=2)._call().retry == pf.Retry(2, 0)
    assert New(retry=pf.Retry(1))._call().retry == pf.Retry(1)
    assert New()._call().retry == pf.Retry(5, 1)


@pytest.mark.parametrize("wrong", [3, "3", (3, 1)])
def test_what_is_no_retry_is_refused(wrong: Any) -> None:
    with pytest.raises(pf.OptionError, match=r"retry=.*pf\.Retry\(3, wait=0\.5\)"):
        pf.Node(retry=wrong)
    with pytest.raises(pf.OptionError, match=r"retry=.*pf\.Retry\(3, wait=0\.5\)"):
        pf.parallel_map(abs, [1], retry=wrong)


@pytest.mark.parametrize("name", ["max_retries", "wait"])
def test_the_old_names_are_no_options_of_a_call(name: str) -> None:
    with pytest.raises(pf.OptionError, match=r"a call has retry=pf\.Retry"):
        pf.parallel_map(abs, [1], **{name: 2})


# --- waits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_in_this_process_an_item_waits_where_it_runs(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(call_module, "sleep", slept.append)
    retry = pf.Retry(4, 1, backoff=2)
    with pytest.raises(ZeroDivisionError):
        pf.parallel_map(lambda item: 1 // item, [0], retry=retry, executor=executor)
    assert slept == [1, 2, 4]


def test_on_the_event_loop_an_item_waits_in_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def pause(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(tasks_module.attempt_item, "__defaults__", (pause,))
    asyncio.run(pf.run_async(AsyncFlaky(retry=pf.Retry(3, 5, backoff=2))))
    assert sorted(slept) == [5] * 8 + [10] * 4


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_timeout_counts_attempts_and_not_the_waits_between_them(executor: str) -> None:
    assert pf.parallel_map(flaky, [2, 1], retry=pf.Retry(3, 0.3), timeout=0.25, executor=executor) == [(2, 2), (1, 1)]


def burn(seconds: float) -> None:
    until = monotonic() + seconds
    while monotonic() < until:
        pass


@pytest.mark.parametrize("wait", [0, 0.05])
def test_a_later_attempt_has_the_time_that_the_first_has_left(wait: float) -> None:
    def work(_: int) -> None:
        burn(60 if current_attempt() else 3)
        raise ConnectionError

    pf.parallel_map(abs, range(10))
    begun = monotonic()
    (found,) = pf.parallel_map(work, [1], timeout=5, retry=pf.Retry(3, wait), on_error="collect")
    assert (found.kind, found.attempts) == ("timeout", 2)
    assert monotonic() - begun < 7.5  # and not 3 and 5 more


@pytest.mark.parametrize("wait", [0, 0.01])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_timeout_says_how_often_the_item_was_tried(executor: str, wait: float, tmp_path: Path) -> None:
    def work(_: int) -> None:
        log(tmp_path / "tried", current_attempt())
        burn(0.6)
        raise ConnectionError("host down")

    retry = pf.Retry(20, wait)
    (found,) = pf.parallel_map(work, [1], timeout=1.5, retry=retry, on_error="collect", executor=executor)
    tried = (tmp_path / "tried").read_text().split()
    assert (found.kind, found.attempts) == ("timeout", len(tried))
    assert 1 <= len(tried) <= 3  # and none once the time is up
    if executor != "processes":
        assert repr(found.error.__cause__) == "ConnectionError('host down')"


def test_a_timeout_on_the_loop_says_how_often_the_item_was_tried() -> None:
    class Node(pf.AsyncBatchNode):
        def prep(self, shared: Any) -> Any:
            return [1]

        async def exec_item_async(self, item: int) -> None:
            if self.cur_retry == 2:
                await asyncio.Event().wait()
            raise ConnectionError

        def post(self, shared: Any, items: Any, results: Any) -> Any:
            return "done", {"found": results[0]}

    shared = asyncio.run(pf.run_async(Node(retry=pf.Retry(5)), timeout=0.2, on_error="collect"))
    assert (shared["found"].kind, shared["found"].attempts) == ("timeout", 3)


def test_a_timeout_on_the_loop_counts_attempts_and_not_the_waits_between_them() -> None:
    shared = asyncio.run(pf.run_async_parallel_batch(AsyncFlaky(retry=pf.Retry(3, 0.3)), timeout=0.25))
    assert shared["results"] == [(n, n % 3) for n in range(12)]


ONE_WORKER = pytest.mark.parametrize("chunked", [False, True], ids=["items", "chunks"])


@ONE_WORKER
def test_an_item_that_waits_holds_no_worker(tmp_path: Path, chunked: bool) -> None:
    """One worker: all others end before the second attempt of the first, which comes not before its time."""
    path = tmp_path / "log"

    def work(item: int) -> int:
        log(path, f"{item} {current_attempt()} {monotonic()}")
        if item == 0 and not current_attempt():
            raise ValueError
        return item

    class Work(pf.BatchNode[Any, Any, Any]):
        retry = pf.Retry(2, 0.5)
        chunksize = 1 if chunked else None

        def prep(self, shared: Any) -> Any:
            return range(21)

        def exec_item(self, item: int) -> int:
            return work(item)

        def post(self, shared: Any, items: Any, results: Any) -> Any:
            return "done", {"results": results}

    class Chunks(Work):
        def exec_chunk(self, items: Any) -> Any:
            return [work(item) for item in items]

    shared = pf.run_parallel_batch(Chunks() if chunked else Work(), max_workers=1)
    assert shared["results"] == list(range(21))
    lines = [line.split() for line in path.read_text().splitlines()]
    tries = [(int(item), int(attempt)) for item, attempt, _ in lines]
    if chunked:  # a chunk that fails as a whole is run once more item by item, and only that counts as an attempt
        assert tries.pop(1) == (0, 0)
        lines.pop(0)
    assert tries == [(item, 0) for item in range(21)] + [(0, 1)]
    assert float(lines[-1][2]) - float(lines[0][2]) >= 0.5


def test_items_that_wait_for_different_times_come_back_in_the_order_of_these(tmp_path: Path) -> None:
    path = tmp_path / "log"

    def work(item: int) -> int:
        log(path, f"{item}:{current_attempt()}")
        if current_attempt() < 1 + (item == 0):
            raise ValueError
        return item

    retry = pf.Retry(3, 0.2, backoff=2)
    assert pf.parallel_map(work, [0, 1, 2], max_workers=1, retry=retry) == [0, 1, 2]
    assert path.read_text().split() == ["0:0", "1:0", "2:0", "0:1", "1:1", "2:1", "0:2"]


def test_the_waits_of_one_call_hold_back_no_other() -> None:
    """Nor does the call that waits miss its end, though its thread may be the one that waits for all."""
    ended: list[BaseException] = []
    begun = threading.Event()

    def items() -> Iterator[int]:
        yield 2
        begun.set()

    def wait_long() -> None:
        try:
            pf.parallel_map(flaky, items(), retry=pf.Retry(3, 3600), max_workers=1)
        except pf.WorkerDiedError as error:
            ended.append(error)

    slow = threading.Thread(target=wait_long)
    slow.start()
    begun.wait()
    for _ in range(20):
        assert pf.parallel_map(abs, [-1, -2, -3], max_workers=1) == [1, 2, 3]
    pf.shutdown()
    slow.join()
    assert "shut down" in str(ended)


@pytest.mark.parametrize("options", [{}, {"ordered": False}, {"chunksize": 3}])
def test_a_worker_that_dies_takes_neither_attempts_nor_crashes_away(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "log"

    def work(item: int) -> Any:
        log(path, f"{item}:{current_attempt()}")
        if item == 4:
            crashes = path.read_text().split().count(f"4:{current_attempt()}")
            if current_attempt() == 1 and crashes == 1:
                os.kill(os.getpid(), signal.SIGKILL)  # in its second attempt, once
            if current_attempt() < 3:
                raise ValueError
        return item, current_attempt()

    found = pf.parallel_map(work, range(8), max_workers=1, retry=pf.Retry(4, 0.02), **options)
    assert sorted(found) == [(n, 3 if n == 4 else 0) for n in range(8)]
    assert [line for line in path.read_text().split() if line.startswith("4:")] == ["4:0", "4:1", "4:1", "4:2", "4:3"]


def test_a_worker_that_dies_while_an_item_waits_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "log"

    def work(item: int) -> Any:
        log(path, f"{item}:{current_attempt()}")
        if item == 1:
            os._exit(1)
        if item == 0 and current_attempt() < 2:
            raise ValueError
        return item, current_attempt()

    waited, crashed = pf.parallel_map(work, [0, 1], max_workers=1, retry=pf.Retry(3, 0.2), on_error="collect")
    assert waited == (0, 2)
    assert (crashed.kind, crashed.attempts) == ("crashed", 2)


def test_a_generators_item_is_kept_while_it_waits() -> None:
    class Item:
        def __init__(self, number: int) -> None:
            self.number = number

    def work(item: Item) -> Any:
        return flaky(item.number)

    items = (Item(number) for number in range(300))
    found = pf.parallel_map(work, items, max_workers=2, retry=pf.Retry(3, 0.01))
    assert found == [(n, n % 3) for n in range(300)]


def test_closing_a_stream_forgets_what_waits() -> None:
    stream = pf.parallel_imap(flaky, iter([0, 0, *[2] * 6]), max_workers=1, retry=pf.Retry(3, 3600))
    assert [next(stream), next(stream)] == [(0, 0), (0, 0)]
    stream.close()
    assert pf.parallel_map(abs, [-1, -2], max_workers=1) == [1, 2]


INTERRUPTED = """
import os, signal, sys, threading, pocketflex as pf
def work(item):
    if item == 0: raise ValueError
    return item
def feed():
    yield from range(6)
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    pf.parallel_map(work, feed(), max_workers=1, retry=pf.Retry(2, 3600))
except KeyboardInterrupt as error:
    print(sorted(pf.partial(error)), error.__notes__)
"""


def test_ctrl_c_ends_a_long_wait(run_script: RunScript) -> None:
    done = run_script(INTERRUPTED)
    assert done.stderr == ""
    assert done.stdout.startswith("[1, 2, 3, 4, 5] ['parallel_map(work): 5 items had finished")


def test_an_attempt_leaves_no_trace_in_the_callers_context() -> None:
    begin_attempt(7)
    with suppress(ValueError):
        Call(flaky, pf.Retry(2)).run(0, 2)
    assert current_attempt() == 7
    begin_attempt(0)
