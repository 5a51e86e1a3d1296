"""What is known of an item that ended its worker, or was stopped: exit, memory, the last Python stack."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pocketflex as pf
from pocketflex._engine import postmortem
from pocketflex._engine.blackbox import STACK
from pocketflex._engine.by_value import ship_by_value
from pocketflex._engine.orders import Death
from pocketflex.outcome import RemoteTraceback

ship_by_value(sys.modules[__name__])  # pytest loads this file by its path, so workers cannot import it

LONG = 30.0  # seconds: over long before, unless something is wrong


def read_null(_item: Any) -> None:
    ctypes.string_at(0)


def abort_below(_item: Any) -> None:
    os.abort()


def loop_in_c(_item: Any) -> int:
    return sum(range(10**12))  # never comes back to Python, and never lets go of the GIL


def wait_long(_item: Any) -> None:
    time.sleep(LONG)


def failure_of(function: Callable[[Any], Any], count: int = 2, **options: Any) -> pf.Failure:
    found = pf.parallel_map(function, range(count), max_workers=2, on_error="collect", **options)
    assert isinstance(found[0], pf.Failure)
    return found[0]


def stack_of(failure: pf.Failure) -> str:
    assert isinstance(failure.error.__cause__, RemoteTraceback)
    return str(failure.error.__cause__)


def note_of(failure: pf.Failure) -> str:
    return failure.error.__notes__[0]


@pytest.mark.parametrize("count", [1, 2], ids=["errand", "job"])
@pytest.mark.parametrize("crash_retries", [0, 1])
@pytest.mark.parametrize("function", [read_null, abort_below])
def test_the_last_stack_of_a_crash_names_what_ran(
    function: Callable[[Any], Any], crash_retries: int, count: int
) -> None:
    pf.parallel_map(abs, range(4), max_workers=2)  # so that one item is an errand
    failure = failure_of(function, count, crash_retries=crash_retries)
    lines = stack_of(failure).strip().splitlines()
    assert lines[0] == "the worker's last stack (most recent call first):"
    assert lines[-1].endswith(f"in {function.__name__}"), "frames of the worker's own loop"
    assert re.search(r"File .*test_postmortem\.py\", line \d+ in ", lines[-1])
    assert re.fullmatch(r"peak memory of its worker: \d+ MB", note_of(failure))


@pytest.mark.parametrize(
    ("function", "line"), [(loop_in_c, "in loop_in_c"), (wait_long, "in wait_long")], ids=["C loop", "wait"]
)
@pytest.mark.parametrize("chunksize", [None, 2])
def test_the_last_stack_of_a_timeout_names_what_ran(
    function: Callable[[Any], Any], line: str, chunksize: int | None
) -> None:
    failure = failure_of(function, timeout=0.2, chunksize=chunksize)
    assert failure.kind == "timeout"
    assert stack_of(failure).strip().endswith(line)
    assert re.fullmatch(r"peak memory of its worker: \d+ MB", note_of(failure))


@pytest.mark.parametrize("deed", [lambda _: os._exit(3), lambda _: os.kill(os.getpid(), signal.SIGKILL)])
def test_what_leaves_no_stack_says_so(deed: Callable[[Any], Any]) -> None:
    failure = failure_of(deed)
    assert failure.error.__cause__ is None
    assert re.fullmatch(r"peak memory of its worker: \d+ MB; no Python stack is left of it", note_of(failure))


def test_the_peak_is_that_of_the_items_worker() -> None:
    def grow(item: int) -> None:
        if item == 1:
            len(b"xy" * 100_000_000)  # touched, and given back
            os._exit(3)
        elif item == 3:
            os._exit(3)

    failures = pf.parallel_map(grow, range(4), max_workers=1, on_error="collect", chunksize=1)
    peaks = [int(re.findall(r"(\d+) MB", note_of(failures[at]))[0]) for at in (1, 3)]
    assert peaks[0] > 200 > peaks[1]


def meddle_enable(_item: Any) -> None:
    faulthandler.enable(open(os.devnull, "w"))  # noqa: SIM115  # it must stay open


def meddle_disable(_item: Any) -> None:
    faulthandler.disable()
    faulthandler.unregister(STACK)


@pytest.mark.parametrize("meddle", [meddle_enable, meddle_disable])
def test_what_items_do_to_faulthandler_ends_with_their_job(meddle: Callable[[Any], Any]) -> None:
    pf.parallel_map(meddle, range(8), max_workers=2, chunksize=1)
    assert "in read_null" in stack_of(failure_of(read_null))
    pf.parallel_map(meddle, range(8), max_workers=2, chunksize=1)
    assert "in wait_long" in stack_of(failure_of(wait_long, timeout=0.2))


def test_an_item_that_handles_the_signal_is_killed_a_moment_later() -> None:
    def handle(_item: Any) -> None:
        signal.signal(STACK, lambda *_: None)
        until = time.monotonic() + LONG
        while time.monotonic() < until:
            time.sleep(LONG)

    begun = time.monotonic()
    failure = failure_of(handle, timeout=0.2)
    assert (failure.kind, failure.error.__cause__) == ("timeout", None)
    assert time.monotonic() - begun < 5


def test_an_item_that_blocks_the_signal_is_killed_a_moment_later() -> None:
    def block(_item: Any) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        time.sleep(LONG)

    assert failure_of(block, timeout=0.2).kind == "timeout"


def test_a_crash_after_descriptors_were_closed_is_still_that_items(tmp_path: Path) -> None:
    mine = tmp_path / "mine"

    def close_most(_item: Any) -> None:
        for fd in range(3, 4096):  # of all that the item could mean, also the box
            if "pocketflex-stack" in _target(fd):
                os.close(fd)
        with open(mine, "w"):
            ctypes.string_at(0)

    failure = failure_of(close_most)
    assert (failure.kind, failure.error.__cause__) == ("crashed", None)
    assert "SIGSEGV" in str(failure.error)
    assert mine.read_text() == ""


def _target(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def test_the_crash_of_a_child_that_an_item_forked_is_not_the_workers() -> None:
    def fork(item: int) -> int:
        child = os.fork()
        if not child:
            ctypes.string_at(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if item == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return code

    found = pf.parallel_map(fork, range(2), max_workers=2, on_error="collect")
    assert found[0] == -signal.SIGSEGV
    assert found[1].error.__cause__ is None


def test_a_function_that_crashes_when_it_is_loaded_leaves_its_stack() -> None:
    class Crashes:
        def __reduce__(self) -> Any:
            return ctypes.string_at, (0,)

        def __call__(self, item: Any) -> Any:
            return item

    with pytest.raises(pf.WorkerDiedError, match=r"before they run an item.*SIGSEGV") as caught:
        pf.parallel_map(Crashes(), [1, 2], max_workers=2)
    assert "in string_at" in str(caught.value.__cause__)


def test_a_plain_kill_leaves_no_box_behind() -> None:
    """The spawner gives the boxes of the dead back: it could not start a worker otherwise, at some time."""

    def boxes(_item: Any) -> int:
        spawner = os.getppid()
        return sum("pocketflex-stack" in os.readlink(f"/proc/{spawner}/fd/{fd}") for fd in _fds(spawner))

    pf.parallel_map(lambda _: os._exit(1), range(6), max_workers=2, on_error="collect")
    assert max(pf.parallel_map(boxes, range(4), max_workers=2)) <= 2


def _fds(pid: int) -> list[str]:
    return [fd for fd in os.listdir(f"/proc/{pid}/fd") if os.path.lexists(f"/proc/{pid}/fd/{fd}")]


@pytest.mark.parametrize(
    ("death", "words"),
    [
        (Death(-9, is_starved=True), "SIGKILL (memory ran out: it is the kernel that has killed it)"),
        (Death(-9, is_starved=False), "SIGKILL (killed, and not by the kernel for want of memory)"),
        (Death(-9), "SIGKILL (killed, perhaps because memory ran out)"),
        (Death(-11, is_starved=True), "SIGSEGV (segmentation fault)"),
        (Death(-40), "signal 40"),
        (Death(0), "exit code 0"),
    ],
)
def test_an_end_has_a_name(death: Death, words: str) -> None:
    assert postmortem.name_exit(death) == words


def test_frames_of_items_are_kept_however_deep() -> None:
    frames = [f'  File "x.py", line {n} in f' for n in range(3)]
    error = Exception()
    postmortem.explain(error, Death(-11, stack="\n".join(["Fatal Python error: x", "", "Stack:", *frames, "  ..."])))
    assert str(error.__cause__).splitlines()[2:] == [*frames, "  ..."]
