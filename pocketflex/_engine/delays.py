"""Which items wait before their next attempt, and until when."""

from __future__ import annotations

import math
from collections.abc import Mapping
from heapq import heappop, heappush
from time import monotonic

from .dispatch import Dispatch
from .job import PoolJob


class Delays:
    """The items that wait, of all jobs; everything is to be called under the pool's lock.

    A waiting item is known here and to dispatch, and to no worker: what it had claimed is settled, and the block
    that it came in may be gone. It is encoded once more when it is due.
    """

    def __init__(self, dispatch: Dispatch, jobs: Mapping[int, PoolJob]) -> None:
        self._dispatch = dispatch
        self._jobs = jobs
        self._due: list[tuple[float, int, int]] = []  # a heap: when by time.monotonic, job, item

    def add(self, job: int, index: int, seconds: float) -> None:
        """An item is to be tried again after so long."""
        heappush(self._due, (monotonic() + seconds, job, index))

    def patience(self) -> float:
        """Seconds until an item is due, infinite if none waits."""
        while self._due and self._due[0][1] not in self._jobs:  # its job has ended
            heappop(self._due)
        return max(0.0, self._due[0][0] - monotonic()) if self._due else math.inf

    def enforce(self) -> None:
        """Have the items planned that have waited long enough."""
        while self._due and self._due[0][0] <= monotonic():
            _, job, index = heappop(self._due)
            if job in self._jobs:
                self._dispatch.due(job, index)
