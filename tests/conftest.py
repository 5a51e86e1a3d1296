"""What every test has: a guard that nothing is left behind; and scripts run in fresh interpreters.

The guard shuts the worker pool down after each test and compares the process with what it was
before: children, threads, descriptors, ``/dev/shm`` and mapped memfds. What is left fails the test.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from hypothesis import settings

import pocketflex as pf

# the same examples in every run: a test that fails does so again, and for everybody
settings.register_profile("pocketflex", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("pocketflex")
# a shell starts what runs in its background with Ctrl-C ignored, and the scripts would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

Script = subprocess.CompletedProcess[str]
RunScript = Callable[..., Script]
StartScript = Callable[..., "subprocess.Popen[str]"]


class Footprint(NamedTuple):
    """What this process holds of the machine."""

    threads: frozenset[threading.Thread]
    descriptors: Counter[str]
    shared_memory: frozenset[str]
    memfds: frozenset[str]


def footprint() -> Footprint:
    return Footprint(frozenset(threading.enumerate()), _descriptors(), _shared_memory(), _memfds())


def left_behind(before: Footprint) -> list[str]:
    """Everything that this process holds and did not hold `before`."""
    now = footprint()
    found = [f"child process {child}" for child in _children()]
    found += [f"thread {thread.name}" for thread in now.threads - before.threads if not _is_library(thread)]
    found += [f"descriptor of {target}" for target in (now.descriptors - before.descriptors).elements()]
    found += [f"/dev/shm/{name}" for name in now.shared_memory - before.shared_memory if not _is_foreign(name)]
    found += [f"mapping {line}" for line in now.memfds - before.memfds]
    return found


def _is_library(thread: threading.Thread) -> bool:
    return type(thread).__name__ == "TMonitor"  # tqdm has one for the whole process, never ended


def _children() -> list[str]:
    children: list[str] = []
    if not _has_children():  # psutil reads all of /proc to find out, which takes 10 ms
        return children
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            children.append(f"{child.pid} {child.status()} {child.cmdline()}")
    return children


def _has_children() -> bool:
    for task in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError):  # a thread that was joined may end only now
            if Path(f"/proc/self/task/{task}/children").read_text():
                return True
    return False


def _descriptors() -> Counter[str]:
    targets: Counter[str] = Counter()
    with os.scandir("/proc/self/fd") as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # the one that lists the directory is also listed
                targets[os.readlink(entry.path)] += 1
    return Counter({target: n for target, n in targets.items() if not target.endswith(f"/{os.getpid()}/fd")})


def _shared_memory() -> frozenset[str]:
    return frozenset(os.listdir("/dev/shm"))


def _is_foreign(name: str) -> bool:
    """Whether another program on this machine has made that entry while the test ran."""
    if name.startswith("sem.mp-"):
        return True  # a semaphore of multiprocessing, which nothing here uses
    maps = [Path(f"/proc/{pid}/maps") for pid in psutil.pids() if pid != os.getpid()]
    for path in maps:
        with suppress(OSError):
            if f"/dev/shm/{name}" in path.read_text():
                return True
    return not os.path.lexists(f"/dev/shm/{name}")


def _memfds() -> frozenset[str]:
    with open("/proc/self/maps") as maps:
        return frozenset(line.split()[4] + " " + line.split()[5] for line in maps if "/memfd:" in line)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = footprint()
    yield
    pf.shutdown()
    left = left_behind(before)
    if left:  # a cycle may hold a pool; nobody can ask for more than one collection
        gc.collect()
        left = left_behind(before)
    if left:
        _end_children()  # the next test is not to be blamed for them
        pytest.fail("left behind:\n  " + "\n  ".join(sorted(left)), pytrace=False)


def _end_children() -> None:
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
            child.wait(5)


@pytest.fixture
def start_script(tmp_path: Path) -> Iterator[StartScript]:
    """Start Python source text in a fresh interpreter: ``start_script(source, how="file", flags=())``.

    Args of what it returns:
        source: The program.
        how: ``"file"``, ``"-c"`` or ``"stdin"``.
        flags: Options of the interpreter, such as ``-Werror``.
        arguments: ``sys.argv[1:]`` of the program.
    """
    started: list[subprocess.Popen[str]] = []

    def start(
        source: str, how: str = "file", flags: tuple[str, ...] = (), arguments: tuple[str, ...] = (), **more: Any
    ) -> subprocess.Popen[str]:
        file = tmp_path / "script.py"
        file.write_text(source)
        program = {"file": [str(file)], "-c": ["-c", source], "stdin": ["-"]}[how]
        with open(file if how == "stdin" else os.devnull) as text:
            process = subprocess.Popen(
                [sys.executable, *flags, *program, *arguments],
                stdin=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
                env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
                start_new_session=True,
                **more,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with process:  # closes its pipes and waits
            pass


@pytest.fixture
def run_script(start_script: StartScript) -> RunScript:
    """Run Python source text in a fresh interpreter to its end: ``run_script(source, how="file")``.

    As `start_script`, and `timeout` in seconds, after which the program's session is killed and the
    test fails. Returns the completed process.
    """

    def run(source: str, how: str = "file", timeout: float = 30, **more: Any) -> Script:
        process = start_script(source, how, **more)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            pytest.fail(f"the script did not end in {timeout} s\n{out}\n{err}")
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


@pytest.fixture
def shared_bytes() -> Callable[[], int]:
    """Bytes of shared memory that this process and those below it refer to, whatever else the machine runs."""
    return _shared_bytes


def _shared_bytes() -> int:
    found: dict[int, int] = {}
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with suppress(OSError):
            for fd in os.listdir(f"/proc/{process.pid}/fd"):
                with suppress(OSError):
                    path = f"/proc/{process.pid}/fd/{fd}"
                    if "memfd:pocketflex" in os.readlink(path):
                        status = os.stat(path)
                        found[status.st_ino] = 512 * status.st_blocks
    return sum(found.values())
