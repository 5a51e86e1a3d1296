"""How many workers: the CPUs that this process may really use, and how many threads each gets.

A container's CPU count is the smallest of three numbers that different tools read: the machine's
CPUs, the affinity mask, and the cgroup's quota (`docker run --cpus`), which may be set at any level
above the process's own group.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "POLARS_MAX_THREADS",
)


def usable_cpus() -> int:
    """CPUs that this process may use, at least 1: the least of machine, affinity and cgroup quota."""
    counts = [_machine_cpus()]
    if hasattr(os, "sched_getaffinity"):
        counts.append(len(os.sched_getaffinity(0)))
    quota = _own_quota()
    if quota is not None:
        counts.append(max(1, math.ceil(quota)))
    return min(counts)


def thread_limits(workers: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that keep numeric libraries from starting CPUs x workers threads.

    What the user has set is left alone.
    """
    return {name: thread_share(workers) for name in THREAD_VARIABLES if name not in environ}


def thread_share(workers: int) -> str:
    """Threads that each of so many workers may start."""
    return str(max(1, usable_cpus() // workers))


@cache
def _machine_cpus() -> int:
    try:
        return max(1, os.sysconf("SC_NPROCESSORS_ONLN"))  # what psutil asks first, without its 17 ms of imports
    except (ValueError, OSError, AttributeError):
        import psutil

        return psutil.cpu_count() or 1


@cache
def _own_quota() -> float | None:
    return cgroup_cpus()  # once: it reads a dozen files, and a quota seldom changes


def cgroup_cpus(proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """The CPU quota of this process's cgroup and those above it, in CPUs; None without a quota.

    Reads version 2 (``cpu.max``) and version 1 (``cpu.cfs_quota_us``). Missing, empty and odd files
    count as no quota, because some container runtimes mount them so.
    """
    quotas = [quota for folder in _groups(proc, root) for quota in (_quota_v2(folder), _quota_v1(folder)) if quota]
    return min(quotas, default=None)


def _groups(proc: Path, root: Path) -> Iterator[Path]:
    for line in _read(proc).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        for base in (root, root / "unified") if not controllers else (root / controllers, root / "cpu"):
            group = base / name.lstrip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(base))


def _quota_v2(folder: Path) -> float | None:
    fields = _read(folder / "cpu.max").split()
    return _ratio(*fields) if len(fields) == 2 else None


def _quota_v1(folder: Path) -> float | None:
    return _ratio(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    try:
        value = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max", empty, or -1 for none in version 1
        return None
    return value if value > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
