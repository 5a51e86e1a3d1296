"""How worn a worker is: the items that it has run and the memory that it has come to keep. A worn one is replaced.

Nothing is measured but for jobs with `max_tasks_per_child` or `memory_limit`. Memory of its own is what it does
not share with others: resident pages that are neither of a file nor of shared memory.
"""

from __future__ import annotations

import os
import resource

from . import native
from .board import ALLOWED, PEAK
from .ranges import Endurance

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Wear:
    """What a worker has been through."""

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self._ran = 0  # items

    def left(self, endurance: Endurance) -> int | None:
        """Items that it may still run; None: any number."""
        return max(1, endurance.tasks - self._ran) if endurance.tasks else None

    def is_allowed(self, endurance: Endurance) -> bool:
        """Whether it may begin, as far as memory goes."""
        return not endurance.nbytes or native.load(self._words, ALLOWED) != 0

    def take_on(self, endurance: Endurance) -> None:
        """A job begins."""
        if endurance.nbytes:
            self._words[PEAK] = 0

    @staticmethod
    def begin(endurance: Endurance) -> None:
        """A claim begins."""
        if endurance.nbytes:
            _forget_peak()

    def end(self, endurance: Endurance, count: int) -> bool:
        """So many items of a claim have run; whether that was enough for this process."""
        self._ran += count
        is_worn = 0 < endurance.tasks <= self._ran
        if endurance.nbytes:
            self._words[PEAK] = peak = own_peak()
            is_worn |= peak > endurance.nbytes and own_memory() > endurance.nbytes
        return is_worn


def own_memory() -> int:
    """Bytes of this process's own."""
    with open("/proc/self/statm", "rb") as file:
        _, resident, shared, *_ = map(int, file.read().split())
    return (resident - shared) * _PAGE


def own_peak() -> int:
    """The most bytes of this process's own since `_forget_peak`: its peak, less what it shares now."""
    with open("/proc/self/statm", "rb") as file:
        _, _, shared, *_ = map(int, file.read().split())
    with open("/proc/self/status", "rb") as file:
        peak = next((int(line.split()[1]) << 10 for line in file if line.startswith(b"VmHWM")), 0)
    return max(0, (peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - shared * _PAGE)


def _forget_peak() -> None:
    try:
        with open("/proc/self/clear_refs", "wb") as file:
            file.write(b"5")
    except OSError:  # /proc is read-only, in some containers: the peak is then that of its whole life
        pass
