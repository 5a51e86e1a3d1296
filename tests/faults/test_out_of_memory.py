"""The kernel kills a worker because memory runs out: in a cgroup with a limit, where this user may make one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

LIMIT = 300 << 20
SCRIPT = """
import os, sys
import pocketflex as pf

with open(sys.argv[1], "w") as group:
    group.write(str(os.getpid()))

def work(n):
    if n == 3:
        return len(bytearray(os.urandom(1)) * (600 << 20))
    return n

found = pf.parallel_map(work, range(8), max_workers=2, on_error="collect")
print(found[:3] + found[4:])
print(found[3].kind, found[3].error)
print(pf.parallel_map(work, range(3), max_workers=2))
"""


def groups() -> Iterator[tuple[Path, str]]:
    """Where a group may be made, and the name of its limit; version 2 and 1."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, name = line.split(":", 2)
        root = Path("/sys/fs/cgroup")
        if not controllers and (root / "cgroup.controllers").exists():
            yield root / name.lstrip("/"), "memory.max"
        elif controllers == "memory":
            yield root / "memory" / name.lstrip("/"), "memory.limit_in_bytes"


@pytest.fixture
def members() -> Iterator[Path]:
    """The file that lists the processes of a group with a limit."""
    for parent, limit in groups():
        group = parent / f"pocketflex-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(LIMIT))
            with suppress(OSError):  # there is no swap, or it is not counted
                (group / "memory.swap.max").write_text("0")
            yield group / "cgroup.procs"
            return
        except OSError:
            continue
        finally:
            group.rmdir()
    pytest.skip("no cgroup with a memory limit can be made here")


def test_an_item_that_takes_all_memory_costs_itself(members: Path, run_script: Any) -> None:
    done = run_script(SCRIPT, arguments=(str(members),))
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[0] == "[0, 1, 2, 4, 5, 6, 7]"
    assert (
        lines[1]
        == "crashed item 3 ended its worker process: SIGKILL (memory ran out: it is the kernel that has killed it)"
    )
    assert lines[2] == "[0, 1, 2]"
