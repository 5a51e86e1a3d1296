"""The end of the caller's process, however it comes, and Ctrl-C: nobody is left, and the pool goes on."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import psutil
import pytest

LONG = 10.0  # seconds: a wait that is over long before, unless something is wrong
Script = subprocess.CompletedProcess[str]
RunScript = Callable[..., Script]
StartScript = Callable[..., "subprocess.Popen[str]"]

FAMILY = """
import os, signal, sys, psutil, pocketflex as pf
pf.parallel_map(lambda x: x, range(4), max_workers=2)
def tell():
    (spawner,) = psutil.Process().children()
    while len(workers := spawner.children()) < 2:  # one may have run all items before the other was there
        pf.parallel_map(abs, range(4), max_workers=2)
    print(spawner.pid, *(worker.pid for worker in workers), flush=True)
def wait(item):
    if item == 0:
        os.write(1, b"busy\\n")
    signal.pause()
tell()
"""
BUSY = FAMILY + "pf.parallel_map(wait, range(2), max_workers=2)\n"
BUSY_ASYNC = (
    FAMILY
    + """
import asyncio
class Wait(pf.BatchNode):
    def prep(self, shared):
        return range(2)
    def exec_item(self, item):
        return wait(item)
asyncio.run(pf.run_async_parallel_batch(Wait, max_workers=2))
"""
)


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that a script has told of; those that have ended since are not among them."""
    assert process.stdout is not None
    members: list[psutil.Process] = []
    for pid in process.stdout.readline().split():
        with suppress(psutil.NoSuchProcess):
            members.append(psutil.Process(int(pid)))
    return members


def all_end(processes: list[psutil.Process], seconds: float = LONG) -> bool:
    return not psutil.wait_procs(processes, seconds)[1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("doing", ["busy", "async", "idle"])
def test_when_the_parent_is_killed_nobody_is_left(
    start_script: StartScript, doing: str, number: signal.Signals
) -> None:
    process = start_script({"busy": BUSY, "async": BUSY_ASYNC, "idle": FAMILY + "signal.pause()\n"}[doing])
    members = family(process)
    assert len(members) == 3
    assert process.stdout is not None
    if doing != "idle":
        assert process.stdout.readline() == "busy\n"
    process.send_signal(number)
    assert process.wait(LONG) == -number
    assert all_end(members)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("os._exit(3)", 3),
        ("sys.exit(4)", 4),
        ("raise ValueError('unhandled')", 1),
        ("stream = pf.parallel_imap(str, iter(int, 1)); next(stream)", 0),
        ("import threading; threading.Thread(target=pf.parallel_map, args=(str, [1])).start()", 0),
        ("import threading; threading.Thread(target=pf.parallel_map, args=(wait, [0]), daemon=True).start()", 0),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
)
def test_however_the_parent_ends_nobody_is_left(start_script: StartScript, end: str, code: int) -> None:
    process = start_script(FAMILY + end)
    members = family(process)
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == code, err
    assert out in ("", "busy\n")
    assert ("unhandled" in err) if code == 1 else (err == "")
    assert all_end(members)


@pytest.mark.parametrize("script", [BUSY, BUSY_ASYNC], ids=["sync", "async"])
def test_ctrl_c_ends_a_call_quickly_and_quietly(start_script: StartScript, script: str) -> None:
    process = start_script(script)
    members = family(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "busy\n"
    begun = monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=LONG)
    assert monotonic() - begun < 5
    assert "KeyboardInterrupt" in err.splitlines()
    assert "0 of 2 items had finished; pf.partial(error) has their outcomes" in err
    assert len(err.splitlines()) < 60
    assert err.count("Traceback") == 1 + (script is BUSY_ASYNC)  # asyncio shows the cancellation, too
    assert all_end(members)


CAUGHT = (
    FAMILY
    + """
try:
    pf.parallel_map(wait, range(2), max_workers=2)
except KeyboardInterrupt:
    print(pf.parallel_map(lambda x: x + 1, range(3), max_workers=2))
"""
)


def test_after_a_ctrl_c_that_was_caught_the_pool_works(start_script: StartScript) -> None:
    process = start_script(CAUGHT)
    family(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "busy\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=LONG)
    assert (out, err) == ("[1, 2, 3]\n", "")


def test_a_child_of_the_parent_that_outlives_it_keeps_no_worker(start_script: StartScript) -> None:
    """It holds copies of the sockets, so their closing alone would tell the spawner nothing."""
    script = (
        FAMILY
        + """
if os.fork() == 0:
    os.setsid()
    print(os.getpid(), flush=True)
    signal.pause()
signal.pause()
"""
    )
    process = start_script(script)
    members = family(process)
    (orphan,) = family(process)
    process.kill()
    process.wait()
    try:
        assert all_end(members)
    finally:
        orphan.kill()


TWICE = """
import os, sys, threading, time
import pocketflex as pf

pf.parallel_map(abs, range(3))

def press_again(frame, event, argument):
    if event == "call" and frame.f_code.co_name == "_hand_on" and sys.exc_info()[0] is KeyboardInterrupt:
        sys.setprofile(None)
        os.kill(os.getpid(), 2)

threading.Timer(0.5, os.kill, (os.getpid(), 2)).start()
sys.setprofile(press_again)
try:
    pf.parallel_map(time.sleep, [20, 20])
except KeyboardInterrupt:
    pass
sys.setprofile(None)
assert pf.parallel_map(abs, range(3)) == [0, 1, 2]
print("fine")
"""


def test_a_second_ctrl_c_does_not_interrupt_what_the_first_has_begun(run_script: RunScript) -> None:
    done = run_script(TWICE)
    assert (done.stdout, done.stderr) == ("fine\n", "")
