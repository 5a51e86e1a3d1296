"""How worn a worker is: the items that it has run and the memory that it has come to keep. A worn one is replaced.

Nothing is measured but for jobs with `max_tasks_per_child` or `memory_limit`. Memory of its own is resident pages
that are neither of a file nor of shared memory; those that it still shares with the spawner, unchanged, are counted.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from .ranges import Endurance

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Wear:
    """What a worker has been through."""

    def __init__(self) -> None:
        self._ran = 0  # items

    def left(self, endurance: Endurance) -> int | None:
        """Items that it may still run; None: any number."""
        return max(1, endurance.tasks - self._ran) if endurance.tasks else None

    def end(self, endurance: Endurance, count: int) -> bool:
        """So many items more have run; whether that was enough for this process."""
        self._ran += count
        return 0 < endurance.tasks <= self._ran or (0 < endurance.nbytes < own_memory())


def own_memory() -> int:
    """Bytes of this process's own; very many where that cannot be read, as no descriptor is left."""
    try:
        with open("/proc/self/statm", "rb") as file:
            _, resident, shared, *_ = map(int, file.read().split())
    except OSError:
        return sys.maxsize
    return (resident - shared) * _PAGE


def own_peak() -> int:
    """The most bytes of this process's own since `forget_peak`: its peak, less what it shares now; 0 if unknown."""
    try:
        with open("/proc/self/status", "rb") as file:
            sizes = dict(line.split(b":", 1) for line in file)
        peak, *shared = (int(sizes[name].split()[0]) for name in (b"VmHWM", b"RssFile", b"RssShmem"))
    except (OSError, KeyError):
        return 0
    return max(0, peak - sum(shared)) << 10


def forget_peak() -> None:
    """Measure the next peak from here on."""
    # it is read-only in some containers: the peak is then that of its whole life
    with suppress(OSError), open("/proc/self/clear_refs", "wb") as file:
        file.write(b"5")
