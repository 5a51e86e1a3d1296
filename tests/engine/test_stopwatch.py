"""The stopwatch: time spent waiting for a CPU does not count, time spent asleep does."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pocketflex._engine import stopwatch
from pocketflex._engine.stopwatch import Stopwatch


@contextmanager
def rival() -> Iterator[None]:
    """A process that wants the one CPU on which this one then runs, too."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    child = os.fork()
    if child == 0:
        while True:
            pass
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.sched_setaffinity(0, allowed)


def work(seconds: float) -> None:
    """Use so much CPU time."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel does not tell who waits")
def test_waiting_for_a_cpu_does_not_count() -> None:
    with rival():
        watch, plain = Stopwatch(is_crowded=True), Stopwatch(is_crowded=False)
        work(0.2)
        seconds, passed = watch.seconds(), plain.seconds()
    assert 0.19 < seconds < passed - 0.1


def test_sleep_counts() -> None:
    watch = Stopwatch(is_crowded=True)
    select.select([], [], [], 0.05)
    assert watch.seconds() > 0.04


@pytest.mark.parametrize("content", [None, b"", b"12", b"what is this"])
def test_a_kernel_that_does_not_tell_leaves_the_wall_clock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "schedstat"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setattr(stopwatch, "_SCHEDSTAT", str(file))
    watch = Stopwatch(is_crowded=True)
    work(0.01)
    seconds = watch.seconds()
    assert 0.009 <= seconds <= watch.wall(time.monotonic())
