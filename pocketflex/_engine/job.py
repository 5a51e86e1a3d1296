"""A job as the pool sees it, and what its owner finds in its inbox."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from .crew import Member
from .packets import Disconnected
from .ranges import Limits
from .transport import Drop, Load, LoadFailed, Parcel, Results, RunRange, Transport


@dataclass(frozen=True, slots=True)
class Arrived:
    """In a job's inbox: outcomes to be read from a worker's memory, which is then to be released."""

    transport: Transport
    results: Results


@dataclass(frozen=True, slots=True)
class Blamed:
    """In a job's inbox: an item that ended its worker, or ran too long and was killed with it."""

    index: int
    attempts: int
    code: int
    is_timeout: bool


@dataclass(frozen=True, slots=True)
class Broken:
    """In a job's inbox: the job cannot go on."""

    error: BaseException


@dataclass(eq=False, slots=True)
class PoolJob:
    """A job as the pool sees it; its owner reads `inbox`."""

    number: int
    limits: Limits
    parcel: Parcel
    timeout: float | None
    inbox: deque[Arrived | Blamed | Broken | LoadFailed] = field(default_factory=deque)
    offered: dict[int, RunRange] = field(default_factory=dict)  # ranges that no worker has yet
    futile_deaths: int = 0  # workers that ended before they ran an item, since one was last finished
    is_cancelled: bool = False

    def give(self, member: Member, run: RunRange) -> None:
        """Send a range to a worker, before its first one also the callable.

        Raises:
            Disconnected: The worker is gone.
        """
        if self.number not in member.loaded:
            member.loaded.add(self.number)
            member.transport.send(Load(self.number, self.parcel, self.timeout))
        member.transport.send(run)

    def withdraw(self, member: Member) -> None:
        """Tell a worker that the job is over."""
        if self.number in member.loaded:
            member.loaded.remove(self.number)
            with suppress(Disconnected):  # then it forgets by ending
                member.transport.send(Drop(self.number))
