"""Every way to end, at every point of an item's life: the outcome of each is defined, and costs no other item.

The ways and the points are those of loky's tests, and a few more of each.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import psutil
import pytest

import pocketflex as pf
from pocketflex._engine.by_value import ship_by_value

ship_by_value(sys.modules[__name__])  # workers cannot import this file

BAD, COUNT = 3, 8
StartScript = Callable[..., "subprocess.Popen[str]"]


def fail() -> None:
    raise ValueError("I stay here")


RAISING: dict[str, Callable[[], Any]] = {"raise": fail, "sys.exit": partial(sys.exit, 5)}
ENDING: dict[str, tuple[Callable[[], Any], str]] = {
    "segfault": (partial(ctypes.string_at, 0), "SIGSEGV"),
    "os._exit": (partial(os._exit, 8), "exit code 8"),
    "os._exit(0)": (partial(os._exit, 0), "exit code 0"),
    "abort": (os.abort, "SIGABRT"),
    "SIGKILL": (lambda: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL"),
    "a signal without a name": (lambda: os.kill(os.getpid(), 40), "signal 40|SIGRTMIN"),
}
WAYS = {**RAISING, **{name: deed for name, (deed, _) in ENDING.items()}}


class OnPickling:
    def __init__(self, deed: Callable[[], Any]) -> None:
        self.deed = deed

    def __reduce__(self) -> Any:
        return self.deed()


class OnLoading(OnPickling):
    def __reduce__(self) -> Any:
        return self.deed, ()


def make(kind: Callable[[Callable[[], Any]], Any], deed: Callable[[], Any], item: Any) -> Any:
    return kind(deed) if item == BAD else item


def run(point: str, way: str) -> list[Any]:
    """Eight items in one chunk, of which one does that at that point."""
    deed = WAYS[way]
    items: list[Any] = list(range(COUNT))
    function: Callable[[Any], Any]
    if point == "running":
        function = partial(make, lambda deed: deed(), deed)
    elif point.startswith("argument"):
        items[BAD] = {"argument pickled": OnPickling, "argument loaded": OnLoading}[point](deed)
        function = str
    else:
        kind = {"result pickled": OnPickling, "result loaded": OnLoading}[point]
        function = partial(make, kind, deed)
    return pf.parallel_map(function, items, max_workers=2, on_error="collect", chunksize=COUNT)


def check(found: list[Any], kind: str, words: str, attempts: int = 1) -> None:
    others = [str(one) for at, one in enumerate(found) if at != BAD]
    assert others == [str(at) for at in range(COUNT) if at != BAD]
    failure = found[BAD]
    assert (failure.index, failure.kind, failure.attempts) == (BAD, kind, attempts)
    assert re.search(words, f"{type(failure.error).__name__}: {failure.error}", re.S)
    assert pf.parallel_map(abs, range(-5, 5), max_workers=2) == list(map(abs, range(-5, 5)))


SAID = {
    "argument pickled": "item 3 cannot be sent to a worker",
    "argument loaded": "item 3 cannot be unpickled in the worker",
    "result pickled": "the result of item 3 .OnPickling. cannot be sent from its worker",
    "result loaded": "the result of item 3 cannot be unpickled in this process",
}


@pytest.mark.parametrize("way", RAISING)
@pytest.mark.parametrize("point", SAID)
def test_what_raises_while_it_is_carried_is_unpicklable(point: str, way: str) -> None:
    cause = {"raise": "ValueError: I stay here", "sys.exit": "SystemExit: 5"}[way]
    check(run(point, way), "unpicklable", f"PayloadError: {SAID[point]}: {cause}")


@pytest.mark.parametrize("way", RAISING)
def test_what_raises_while_it_runs_is_an_exception(way: str) -> None:
    check(run("running", way), "exception", {"raise": "I stay here", "sys.exit": "5"}[way])


@pytest.mark.parametrize(
    ("point", "way"),
    [("running", way) for way in ENDING]
    + [(point, way) for point in ("argument loaded", "result pickled") for way in ("segfault", "os._exit")],
)
def test_what_ends_the_worker_is_a_crash(point: str, way: str) -> None:
    words = f"WorkerDiedError: item 3 ended its worker process: .*{ENDING[way][1]}"
    check(run(point, way), "crashed", words, attempts=2)


# --- __del__ ------------------------------------------------------------------------------------------

HERE = os.getpid()


class Leaving:
    """Does something when its last reference goes, but in the process of the test."""

    def __init__(self, deed: Callable[[], Any]) -> None:
        self.deed = deed

    def __del__(self) -> None:
        if os.getpid() != HERE:
            self.deed()


def give(deed: Callable[[], Any], item: int) -> Any:
    return Leaving(deed) if item == BAD else [item]


def number(item: Any) -> int:
    return item[0] if isinstance(item, list) else BAD


def leave(point: str, deed: Callable[[], Any], chunksize: int | None, crash_retries: int) -> list[Any]:
    options: dict[str, Any] = {"chunksize": chunksize, "crash_retries": crash_retries, "on_error": "collect"}
    if point == "result":
        found = pf.parallel_map(partial(give, deed), range(COUNT), max_workers=2, **options)
        return [one if isinstance(one, pf.Failure) else number(one) for one in found]
    items = [give(deed, item) for item in range(COUNT)]
    return pf.parallel_map(number, items, max_workers=2, **options)


@pytest.mark.parametrize("crash_retries", [0, 1])
@pytest.mark.parametrize("chunksize", [None, COUNT])
@pytest.mark.parametrize("way", ["segfault", "os._exit"])
@pytest.mark.parametrize("point", ["argument", "result"])
def test_an_object_that_ends_the_worker_as_it_goes_costs_its_own_item(
    point: str, way: str, chunksize: int | None, crash_retries: int
) -> None:
    deed, words = ENDING[way]
    check(leave(point, deed, chunksize, crash_retries), "crashed", words, crash_retries + 1)


@pytest.mark.parametrize("way", RAISING)
@pytest.mark.parametrize("point", ["argument", "result"])
def test_an_object_that_raises_as_it_goes_costs_nothing(point: str, way: str) -> None:
    """Python tells stderr of it, and goes on."""
    assert leave(point, RAISING[way], COUNT, 0) == list(range(COUNT))


# --- in the process of the caller -----------------------------------------------------------------------

ENDS_ITS_CALLER = """
import ctypes, os, sys, psutil, pocketflex as pf

class Ends:
    def __init__(self, is_loaded):
        self.is_loaded = is_loaded
    def __reduce__(self):
        return (end, ()) if self.is_loaded else end()

def end():
    END

pf.parallel_map(abs, range(4), max_workers=2)
(spawner,) = psutil.Process().children()
while len(workers := spawner.children()) < 2:
    pf.parallel_map(abs, range(4), max_workers=2)
print(spawner.pid, *(worker.pid for worker in workers), flush=True)
POINT
"""
POINTS = {
    "argument pickled": "pf.parallel_map(str, [0, 1, Ends(False)], max_workers=2, on_error='collect')",
    "result loaded": "pf.parallel_map(lambda n: Ends(True) if n == 1 else n, range(3), max_workers=2)",
}
ENDS = {"ctypes.string_at(0)": -signal.SIGSEGV, "os._exit(8)": 8}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("point", POINTS)
def test_what_ends_the_caller_leaves_nobody_behind(start_script: StartScript, point: str, end: str) -> None:
    process = start_script(ENDS_ITS_CALLER.replace("END", end).replace("POINT", POINTS[point]))
    assert process.stdout is not None
    members = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
    assert len(members) == 3
    _, err = process.communicate(timeout=60)
    assert process.returncode == ENDS[end], err
    assert psutil.wait_procs(members, 10)[1] == []
