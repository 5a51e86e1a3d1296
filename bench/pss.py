"""How much memory a tree of processes holds: PSS, which counts a shared page once.

    measuring process ── starts, closes its stdin ──> python -m bench.pss PID
                      <── two lines: at the start, and at the peak ──

The watcher is a process of its own because a thread would share the GIL with what it watches. It reads
every 20 ms, and once more when its stdin ends, while the results are still alive.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_EVERY = 0.020  # seconds; reading takes about 1 ms a process, and more with many pages


def tree(pid: int, without: int = 0) -> Iterator[int]:
    """The process and all below it, without one branch."""
    yield pid
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                children = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
                for child in map(int, children):
                    if child != without:
                        yield from tree(child, without)


def read_pss(pid: int) -> int:
    """Bytes of one process; 0 if it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def tree_pss(pid: int, without: int = 0) -> int:
    """Bytes of a whole tree."""
    return sum(map(read_pss, tree(pid, without)))


class Growth:
    """By how much the tree of this process grew within the block, at its peak.

    Attributes:
        bytes: The growth, once the block has ended.
    """

    def __init__(self) -> None:
        self.bytes = 0

    def __enter__(self) -> Growth:
        command = [sys.executable, "-m", "bench.pss", str(os.getpid())]
        self._watcher = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._watcher.stdout is not None
        self._begun = int(self._watcher.stdout.readline())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        peak, _ = self._watcher.communicate()
        self.bytes = int(peak) - self._begun


def watch(pid: int) -> None:
    """Print what the tree of `pid` holds now, and when stdin ends what it held at its peak."""
    peak = tree_pss(pid, os.getpid())
    print(peak, flush=True)
    while not select.select([sys.stdin], [], [], _EVERY)[0]:
        peak = max(peak, tree_pss(pid, os.getpid()))
    print(max(peak, tree_pss(pid, os.getpid())))


if __name__ == "__main__":
    watch(int(sys.argv[1]))
