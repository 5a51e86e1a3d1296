"""Whether the kernel's count says that it has killed a process: which file is read, and what is explained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pocketflex._engine.oom import OomKills

V2 = "0::/a/b\n"
V1 = "12:memory:/a/b\n4:cpu,cpuacct:/a/b\n0::/\n"
Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    return write


def kills(folder: Path) -> OomKills:
    return OomKills(folder / "proc", folder / "cgroup")


@pytest.mark.parametrize(
    ("groups", "file"),
    [
        (V2, "cgroup/a/b/memory.events"),
        (V2, "cgroup/unified/a/b/memory.events"),
        (V1, "cgroup/memory/a/b/memory.oom_control"),
        (V2, "proc/vmstat"),
        (V1, "proc/vmstat"),
        ("", "proc/vmstat"),
    ],
)
def test_a_count_that_has_risen_explains_as_many_deaths(tmp_path: Path, write: Write, groups: str, file: str) -> None:
    write("proc/self/cgroup", groups)
    write(file, "oom 7\noom_kill 3\noom_kill_disable 9\n")
    counted = kills(tmp_path)
    assert counted.explain_one() is False
    write(file, "oom 7\noom_kill 5\noom_kill_disable 9\n")
    assert [counted.explain_one() for _ in range(3)] == [True, True, False]


def test_the_own_group_counts_before_the_machine(tmp_path: Path, write: Write) -> None:
    write("proc/self/cgroup", V2)
    write("cgroup/a/b/memory.events", "oom_kill 0\n")
    write("proc/vmstat", "oom_kill 1\n")
    counted = kills(tmp_path)
    write("proc/vmstat", "oom_kill 2\n")
    assert counted.explain_one() is False


@pytest.mark.parametrize("text", [None, "", "oom_kill\n", "oom_kill x\n", "oom 5\n"])
def test_where_nobody_counts_nothing_is_known(tmp_path: Path, write: Write, text: str | None) -> None:
    if text is not None:
        write("proc/vmstat", text)
    assert kills(tmp_path).explain_one() is None


def test_a_count_that_began_anew_explains_nothing(tmp_path: Path, write: Write) -> None:
    """The group may have been made again meanwhile."""
    write("proc/vmstat", "oom_kill 5\n")
    counted = kills(tmp_path)
    write("proc/vmstat", "oom_kill 0\n")
    assert counted.explain_one() is False
    write("proc/vmstat", "oom_kill 1\n")
    assert counted.explain_one() is True
