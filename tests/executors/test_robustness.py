"""What an attack on the engine has found once: each of these hung, leaked, or cost an innocent item."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

import pocketflex as pf

Script = Callable[..., CompletedProcess[str]]


def shared_memory() -> int:
    """Bytes of shared memory on this machine."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Shmem:"))


def test_a_slow_input_is_handed_on_as_it_comes() -> None:
    """The pace of the workers must not decide how many items are waited for before any is sent."""
    results_before: list[int] = []
    received: list[int] = []

    def feed() -> Iterator[int]:
        for number in range(200):
            if number >= 100:  # by now the pace allows for many items
                results_before.append(len(received))
                threading.Event().wait(0.006)  # longer than the input may be waited for
            yield number

    for result in pf.parallel_imap(lambda n: n, feed(), max_workers=2):
        received += [result]
    assert received == list(range(200))
    assert results_before[-1] > 150


def test_a_short_call_does_not_wait_for_a_long_one() -> None:
    begun, stop = threading.Event(), threading.Event()

    def feed() -> Iterator[int]:
        for number in range(10**9):
            if number > 2000:
                begun.set()
            if stop.is_set():
                return
            yield number

    long = threading.Thread(target=lambda: sum(1 for _ in pf.parallel_imap(lambda n: n, feed(), max_workers=2)))
    long.start()
    try:
        assert begun.wait(20)
        assert pf.parallel_map(abs, [-1], max_workers=2) == [1]
        assert long.is_alive()
    finally:
        stop.set()
        long.join()


def test_an_item_that_forks_and_returns_twice_counts_once() -> None:
    def fork(number: int) -> int:
        if number == 5:
            os.fork()
        return number

    assert pf.parallel_map(fork, range(20), max_workers=2) == list(range(20))
    assert pf.parallel_map(abs, range(5)) == list(range(5))


def test_the_memory_of_a_large_callable_is_given_back() -> None:
    held = b"x" * (40 << 20)  # alone in its segment
    before = shared_memory()
    for _ in range(5):
        assert pf.parallel_map(lambda n: n + len(held), [1], max_workers=1) == [1 + (40 << 20)]
    assert shared_memory() - before < 80 << 20


def test_the_memory_of_large_items_is_given_back_at_once() -> None:
    before = shared_memory()
    items = [np.ones(5 << 20) for _ in range(3)]  # 40 MB each
    assert pf.parallel_map(lambda item: float(item[0]), items, max_workers=2) == [1.0] * 3
    assert shared_memory() - before < 40 << 20


def test_a_class_that_cannot_be_pickled_costs_its_item() -> None:
    class Locked:
        lock = threading.Lock()

    results = pf.parallel_map(lambda item: item, [1, 2, Locked(), 4], on_error="collect")
    assert [results[0], results[1], results[3]] == [1, 2, 4]
    assert (results[2].index, results[2].kind) == (2, "unpicklable")


def test_an_exception_that_loads_in_the_worker_alone_costs_its_item() -> None:
    parent = os.getpid()

    def load(pid: int) -> Exception:
        if os.getpid() == pid:
            raise ImportError("not here")
        return Odd()

    class Odd(Exception):
        def __reduce__(self) -> Any:
            return load, (parent,)

    def fail(number: int) -> int:
        if number == 1:
            raise Odd
        return number

    results = pf.parallel_map(fail, range(3), on_error="collect")
    assert [results[0], results[2]] == [0, 2]
    assert isinstance(results[1].error, pf.RemoteError)
    assert "ImportError: not here" in str(results[1].error)


def test_a_result_that_exits_on_loading_costs_its_item() -> None:
    class Exits:
        def __reduce__(self) -> Any:
            return exec, ("raise SystemExit(7)",)

    results = pf.parallel_map(lambda n: Exits() if n == 1 else n, range(3), on_error="collect")
    assert [results[0], results[2]] == [0, 2]
    assert results[1].kind == "unpicklable"


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_an_exception_without_a_message_is_reported(executor: str, caplog: pytest.LogCaptureFixture) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no message")

    def fail(number: int) -> int:
        if number == 1:
            raise Mute
        return number

    assert pf.parallel_map(fail, range(3), on_error="skip", executor=executor) == [0, 2]
    assert "1 of 3 items failed" in caplog.text


@pytest.mark.parametrize("timeout", [3e6, 9e8])
def test_a_timeout_of_years_is_none_at_all(timeout: float) -> None:
    assert pf.parallel_map(abs, [-1, 2], timeout=timeout) == [1, 2]


def test_thousands_of_arrays_in_a_closure_arrive() -> None:
    arrays = [np.full(600, number, dtype=float) for number in range(3000)]  # 4.8 KB each: out of band
    assert pf.parallel_map(lambda n: float(arrays[n][0]), [0, 2999], max_workers=1) == [0.0, 2999.0]


def test_a_parent_that_ignores_its_children_can_have_workers(run_script: Script) -> None:
    source = """
import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
import pocketflex as pf
results = pf.parallel_map(lambda n: os._exit(3) if n == 5 else n, range(10), on_error="collect")
print([r.index for r in results if not isinstance(r, int)])
"""
    done = run_script(source)
    assert (done.stdout, done.stderr) == ("[5]\n", "")


def test_ctrl_c_in_the_main_thread_leaves_the_calls_of_others_whole(run_script: Script) -> None:
    """Hundreds of interruptions at odd moments; whatever they hit, no thread loses an item or waits for ever."""
    source = """
import random, signal, threading, time
import pocketflex as pf
random.seed(0)
signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
end = time.monotonic() + 4
wrong = []
def work():
    while time.monotonic() < end:
        if pf.parallel_map(lambda n: n * n, range(150), max_workers=2) != [n * n for n in range(150)]:
            wrong.append(1)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
while time.monotonic() < end:
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.03))
        try:
            pf.parallel_map(lambda n: n, range(150), max_workers=2)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        pass
for thread in threads:
    thread.join()
print("whole" if not wrong else "wrong")
"""
    done = run_script(source)
    assert done.stdout == "whole\n", done.stderr
