"""Whether the kernel has killed a process because memory ran out: its own count of that, read after a death.

The count is that of this process's cgroup (version 2: ``memory.events``, version 1: ``memory.oom_control``),
or that of the machine where the group has none (Documentation/admin-guide/cgroup-v2.rst, proc(5)). The
kernel counts first and kills then, so the count has risen before the death is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_FIELD = "oom_kill"


class OomKills:
    """The count, and how much of it is explained by deaths that are known."""

    def __init__(self, proc: Path = Path("/proc"), root: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc = proc
        self._root = root
        self._known = self._count()

    def explain_one(self) -> bool | None:
        """A process of this group has been killed: whether by the kernel, for its memory; None if nobody counts.

        Another process of the group may be the one that the kernel has killed; it is then said of this one.
        """
        count, known = self._count(), self._known
        if count is None or known is None:
            return None
        self._known = min(count, known + 1)
        return count > known

    def _count(self) -> int | None:
        for path in (*self._files(), self._proc / "vmstat"):
            for line in _read(path).splitlines():
                name, _, value = line.partition(" ")
                if name == _FIELD and value.strip().isdigit():
                    return int(value)
        return None

    def _files(self) -> Iterator[Path]:
        for line in _read(self._proc / "self" / "cgroup").splitlines():
            controllers, _, name = line.partition(":")[2].partition(":")
            if "memory" in controllers.split(","):
                yield self._root / controllers / name.lstrip("/") / "memory.oom_control"
            elif not controllers:
                yield self._root / name.lstrip("/") / "memory.events"
                yield self._root / "unified" / name.lstrip("/") / "memory.events"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
