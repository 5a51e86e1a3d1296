"""How many CPUs: the least of machine, affinity and any quota from the own cgroup upward."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from pocketflex._engine import sizing

V2 = "0::/a/b\n"
V1 = "12:memory:/a/b\n4:cpu,cpuacct:/a/b\n1:name=systemd:/a/b\n"


def cgroup_cpus(tmp_path: Path, groups: str, files: dict[str, str]) -> float | None:
    root = tmp_path / "cgroup"
    root.mkdir()
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    proc = tmp_path / "self"
    proc.write_text(groups)
    return sizing.cgroup_cpus(proc, root)


@pytest.mark.parametrize(
    ("groups", "files", "cpus"),
    [
        (V2, {"a/b/cpu.max": "150000 100000\n"}, 1.5),
        (V2, {"a/b/cpu.max": "max 100000\n"}, None),
        (V2, {"a/b/cpu.max": ""}, None),
        (V2, {"a/b/cpu.max": "garbage"}, None),
        (V2, {"a/b/cpu.max": "100000 0"}, None),
        (V2, {}, None),
        (V2, {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2.0),
        (V2, {"a/b/cpu.max": "400000 100000", "a/cpu.max": "200000 100000", "cpu.max": "300000 100000"}, 2.0),
        (V2, {"a/b/cpu.max": "", "cpu.max": "50000 100000"}, 0.5),
        (V2, {"a/b/c/cpu.max": "100000 100000", "x/cpu.max": "100000 100000"}, None),  # not above us
        ("0::/\n", {"cpu.max": "250000 100000"}, 2.5),
        ("0::/../..\n", {"cpu.max": "100000 100000"}, 1.0),  # a container that sees the host's path
        (V1, {"cpu,cpuacct/a/b/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/a/b/cpu.cfs_period_us": "100000\n"}, 2.0),
        (V1, {"cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/a/b/cpu.cfs_period_us": "100000\n"}, None),
        (V1, {"cpu,cpuacct/a/b/cpu.cfs_quota_us": "", "cpu,cpuacct/a/b/cpu.cfs_period_us": ""}, None),
        (V1, {"cpu,cpuacct/a/b/cpu.cfs_quota_us": "200000"}, None),  # without its period
        (V1, {"cpu/a/cpu.cfs_quota_us": "300000", "cpu/a/cpu.cfs_period_us": "100000"}, 3.0),  # mounted as cpu
        (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "50000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 0.5),
        (V1, {"memory/a/b/cpu.cfs_quota_us": "1", "memory/a/b/cpu.cfs_period_us": "100000"}, None),
        ("4:cpuset:/a\n", {"cpuset/a/cpu.cfs_quota_us": "1", "cpuset/a/cpu.cfs_period_us": "100000"}, None),
        (V1 + V2, {"unified/a/cpu.max": "100000 100000"}, 1.0),  # both versions mounted
        ("", {"cpu.max": "100000 100000"}, None),
        ("0::/with:colon\n", {"with:colon/cpu.max": "100000 100000"}, 1.0),
    ],
)
def test_the_quota_is_the_least_on_the_way_up(
    tmp_path: Path, groups: str, files: dict[str, str], cpus: float | None
) -> None:
    assert cgroup_cpus(tmp_path, groups, files) == cpus


def test_a_missing_proc_file_is_no_quota(tmp_path: Path) -> None:
    assert sizing.cgroup_cpus(tmp_path / "nowhere", tmp_path) is None


@pytest.mark.parametrize(("quota", "cpus"), [(0.2, 1), (1.0, 1), (1.5, 2), (3.0, 3), (64.0, 3), (None, 3)])
def test_the_least_of_three_numbers_counts(monkeypatch: pytest.MonkeyPatch, quota: float | None, cpus: int) -> None:
    monkeypatch.setattr(sizing, "_machine_cpus", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 5, 7})
    monkeypatch.setattr(sizing, "_own_quota", lambda: quota)
    assert sizing.usable_cpus() == cpus


def test_without_a_count_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setattr(psutil, "cpu_count", lambda: None)
    assert sizing._machine_cpus.__wrapped__() == 1


@pytest.mark.parametrize(("cpus", "workers", "threads"), [(8, 8, "1"), (8, 2, "4"), (8, 3, "2"), (2, 64, "1")])
def test_libraries_share_the_cpus_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, cpus: int, workers: int, threads: str
) -> None:
    monkeypatch.setattr(sizing, "usable_cpus", lambda: cpus)
    limits = sizing.thread_limits(workers, {"OMP_NUM_THREADS": "5"})
    assert set(limits) == set(sizing.THREAD_VARIABLES) - {"OMP_NUM_THREADS"}
    assert set(limits.values()) == {threads}
