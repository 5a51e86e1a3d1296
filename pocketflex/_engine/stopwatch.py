"""How long work has taken, without the time it waited for a CPU.

Where workers outnumber the CPUs each of them runs for a few milliseconds and then waits for as long as all
others run. By the wall clock an item of theirs seems dear, so they would claim a handful at a time and hand
back what they have claimed. What is measured for sharing out must be what the work itself takes.

A CPU clock would not do: an item that sleeps or reads takes time as well.
"""

from __future__ import annotations

from time import monotonic

_SCHEDSTAT = "/proc/self/schedstat"  # ns on a CPU, ns waiting for one, slices; Linux, scheduler/sched-stats.rst


class Stopwatch:
    """Measures from when it was made."""

    def __init__(self, is_crowded: bool) -> None:
        """Start; with `is_crowded`, where workers outnumber the CPUs, without the time spent waiting for one.

        To find out takes 10 us, which is nothing beside a slice of CPU time, and much beside a short job.
        """
        self._waited = _waited() if is_crowded else None
        self._begun = monotonic()

    def wall(self, now: float) -> float:
        """Seconds that have passed until `now`, of `time.monotonic`."""
        return now - self._begun

    def seconds(self) -> float:
        """Seconds that the work has taken."""
        passed = monotonic() - self._begun
        return passed if self._waited is None else max(0.0, passed - (_waited() - self._waited))


def _waited() -> float:
    """Seconds that this process's main thread has waited for a CPU; 0 where the kernel does not tell."""
    try:
        with open(_SCHEDSTAT, "rb", buffering=0) as file:
            return int(file.read(64).split()[1]) / 1e9
    except (OSError, LookupError, ValueError):  # no /proc, no descriptor left, or another format
        return 0.0
