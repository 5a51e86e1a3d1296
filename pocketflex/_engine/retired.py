"""Jobs that have ended while workers still run their items: dismissed after a moment, freed when nobody is left."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from .crew import Crew
from .dispatch import Dispatch
from .transport import Parcel

GRACE = 0.05  # seconds that workers have to leave a job that has ended before they are killed


@dataclass(slots=True)
class _Leaving:
    parcel: Parcel  # a worker may still read it
    deadline: float  # by time.monotonic
    is_dismissed: bool = False


class Retired:
    """The jobs that have ended and are not forgotten; everything is to be called under the pool's lock."""

    def __init__(self, crew: Crew, dispatch: Dispatch) -> None:
        self._crew = crew
        self._dispatch = dispatch
        self._leaving: dict[int, _Leaving] = {}

    def __contains__(self, job: int) -> bool:
        return job in self._leaving

    def add(self, job: int, parcel: Parcel) -> None:
        """A job has ended."""
        self._leaving[job] = _Leaving(parcel, time.monotonic() + GRACE)
        self._free()

    def patience(self) -> float:
        """Seconds until the grace of a job ends, infinite if there is none."""
        left = (job.deadline - time.monotonic() for job in self._leaving.values() if not job.is_dismissed)
        return max(0.0, min(left, default=math.inf))

    def enforce(self) -> None:
        """Forget the jobs that no worker runs any more, and dismiss the workers of those whose grace has ended."""
        self._free()
        for number, job in self._leaving.items():
            if not job.is_dismissed and time.monotonic() >= job.deadline:
                job.is_dismissed = True
                self.dismiss(number)

    def dismiss(self, job: int) -> None:
        """Kill the workers that run an item of a job that has ended; one that merely holds some drops them."""
        for slot in self._dispatch.holders(job):
            held = self._dispatch.held(slot)
            if held is not None and held.job == job and not self._crew[slot].is_dismissed:
                self._crew.kill(slot)

    def _free(self) -> None:
        # what no worker can be reading any more
        for number in [number for number in self._leaving if not self._dispatch.holders(number)]:
            parcel = self._leaving.pop(number).parcel
            self._crew.arena.free(parcel.region)
            if parcel.buffers is not None:
                self._crew.arena.free(parcel.buffers)
