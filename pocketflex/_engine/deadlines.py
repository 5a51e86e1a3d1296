"""Which workers have run an item for longer than its job's `timeout` allows, and when to look again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .crew import NOTHING, Crew
from .job import PoolJob
from .ranges import Running


class _Timed(NamedTuple):
    slot: int
    running: Running
    left: float  # seconds until the deadline


class Deadlines:
    """The deadlines of all items that run; everything is to be called under the pool's lock.

    A worker publishes when each item began, so a deadline that the pool waits for may be that of an
    item which ended long ago: looking again once it has passed costs one wake-up per timeout. A worker
    between two items may begin one at any moment, so its deadline is a whole timeout away.
    """

    def __init__(self, crew: Crew, jobs: Mapping[int, PoolJob]) -> None:
        self._crew = crew
        self._jobs = jobs

    def patience(self) -> float:
        """Seconds until a deadline may have passed, infinite if there is none."""
        return max(0.0, min((timed.left for timed in self._timed()), default=math.inf))

    def enforce(self) -> None:
        """Kill the workers whose item has had its time."""
        for timed in list(self._timed()):
            if timed.running.item >= 0 and timed.left < 0:
                self._crew.kill(timed.slot, timed.running)

    def _timed(self) -> Iterator[_Timed]:
        for job in self._jobs.values():
            timeout = job.terms.timeout
            if timeout is None:
                continue
            for member in job.members.values():
                running, count, seconds = member.seconds_running()
                if not member.is_dismissed:
                    left = timeout * count - seconds if running.job == job.number else timeout
                    yield _Timed(member.slot, running if running.job == job.number else NOTHING, left)
