"""Which workers have run an item for longer than its job's `timeout` allows, and when to look again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .crew import Crew
from .dispatch import Dispatch
from .job import PoolJob


class _Timed(NamedTuple):
    slot: int
    range: int
    item: int
    left: float  # seconds until the deadline


class Deadlines:
    """The deadlines of all items that run; everything is to be called under the pool's lock.

    A worker publishes when each item began, so a deadline that the pool waits for may be that of an
    item which ended long ago: looking again once it has passed costs one wake-up per timeout.
    """

    def __init__(self, crew: Crew, dispatch: Dispatch, jobs: Mapping[int, PoolJob]) -> None:
        self._crew = crew
        self._dispatch = dispatch
        self._jobs = jobs

    def patience(self) -> float:
        """Seconds until a deadline may have passed, infinite if there is none."""
        return max(0.0, min((timed.left for timed in self._timed()), default=math.inf))

    def enforce(self) -> None:
        """Kill the workers whose item has had its time."""
        for timed in list(self._timed()):
            if timed.item >= 0 and timed.left < 0:
                self._crew.kill(timed.slot, (timed.range, timed.item))

    def _timed(self) -> Iterator[_Timed]:
        for member in self._crew:
            held = self._dispatch.held(member.slot)
            job = self._jobs.get(held.job) if held else None
            if held and job and job.timeout is not None and not member.is_dismissed:
                items = held.span.stop - held.span.start if job.limits.is_whole else 1
                item, seconds = self._crew.seconds_running(member)
                yield _Timed(member.slot, self._crew.running(member), item, job.timeout * items - seconds)
