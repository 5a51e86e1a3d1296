"""A job as the pool sees it, and what its owner finds in its inbox."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from .dispatch import Dispatch
from .ledger import Ledger
from .lens import Lens
from .member import Member
from .orders import Death
from .packets import Disconnected
from .ranges import Limits
from .records import Record
from .segments import Region
from .shm import Arena
from .transport import Forget, Load, LoadFailed, Terms


@dataclass(frozen=True, slots=True)
class Arrived:
    """In a job's inbox: outcomes to be read from a worker's memory, which is then to be released."""

    lens: Lens
    memory: Any
    record: Record

    def release(self) -> None:
        """Let the worker use the memory again."""
        self.lens.release(self.record.region)


@dataclass(frozen=True, slots=True)
class Blamed:
    """In a job's inbox: an item that ended its worker, or ran too long and was killed with it."""

    index: int
    attempts: int
    death: Death
    is_timeout: bool


@dataclass(frozen=True, slots=True)
class Broken:
    """In a job's inbox: the job cannot go on."""

    error: BaseException


News = Arrived | Blamed | Broken | LoadFailed


@dataclass(slots=True)
class Lent:
    """A block that workers may be reading: where it lies, and whose items still refer to it."""

    region: Region
    refers_to: tuple[int, ...] = ()  # segments of shared arrays
    keeps: Any = None  # items that workers read in this process's memory
    holders: set[int] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class PoolJob:
    """A job as the pool sees it; its owner reads `inbox`."""

    number: int
    limits: Limits
    terms: Terms
    ledger: Ledger
    load: Load  # what its workers are told
    inbox: deque[News] = field(default_factory=deque)
    blocks: dict[int, Lent] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)  # the workers that take part, by slot
    untold: list[Member] = field(default_factory=list)  # those of them that do not know yet
    futile_deaths: int = 0  # workers that ended before they ran an item, since one was last finished
    died_at: float = 0.0  # when the last of them did, by time.monotonic
    is_cancelled: bool = False
    is_readable: bool = True  # whether workers can read what is sent in the quick ways, for all that is known

    def is_due(self, dispatch: Dispatch) -> bool:
        """Whether its owner has something to do: read, encode, or run an item itself."""
        return (
            bool(self.inbox)
            or self.is_cancelled
            or dispatch.is_hungry(self.number, self.ledger.unclaimed)
            or (dispatch.is_joined(self.number) and self.ledger.is_open)
        )

    def enlist(self, member: Member) -> None:
        """Let a worker take part: it is told with the first block, or it would wake up twice, unless that comes now."""
        self.members[member.slot] = member
        self.untold.append(member)
        self.call_up()

    def call_up(self, member: Member | None = None) -> None:
        """Tell the workers of the job that have not been told: one that has just told something, or all.

        One that runs an item of another job may not read it for long: it is told only if there is room for a
        letter, which it finds between two claims, and nothing large, which would be kept for it that long.
        """
        is_small = self.terms.call.buffers is None
        for untold in list(self.untold):
            is_free = untold is member or not untold.is_running
            if (self.blocks or self.limits.length) and (is_free or (is_small and untold.words.has_room)):
                self.untold.remove(untold)
                self._tell(untold)

    def _tell(self, member: Member) -> None:
        call = self.terms.call
        regions = [
            self.load.sheet,
            self.terms.surroundings.region,
            call.region,
            *([call.buffers] if call.buffers else []),
        ]
        with suppress(Disconnected):  # its end is about to be reported, and another takes its place
            member.transport.introduce(*(region.segment for region in regions))
            for lent in self.blocks.values():
                member.transport.introduce(lent.region.segment, *lent.refers_to)
            member.send(self.load)

    def show(self, block: Lent) -> None:
        """Let the workers that have been told map what a block is in; the others get it with what they are told."""
        for member in self.members.values():
            if member not in self.untold:
                with suppress(Disconnected):  # its end is about to be reported
                    member.transport.introduce(block.region.segment, *block.refers_to)

    def ring(self, most: int) -> None:
        """Wake as many resting workers, after a fence."""
        for member in self.members.values():
            most -= member.ring()
            if most <= 0:
                return

    def is_awake(self) -> bool:
        """Whether one of its workers need not be woken up first, so that it may tell something in a moment."""
        return any(not member.is_asleep for member in self.members.values())

    def discard_news(self) -> None:
        """Nobody will read the inbox: let workers use the memory of what is in it again."""
        while self.inbox:
            news = self.inbox.popleft()
            if isinstance(news, Arrived):
                news.release()

    def dismiss(self) -> None:
        """Have workers see that the ledger is closed: at once where they run the job or hold much memory of it."""
        while self.untold:
            del self.members[self.untold.pop().slot]
        for member in self.members.values():
            if self.terms.call.buffers is not None or member.job == self.number:
                member.call()


def free(arena: Arena, region: Region, members: list[Member], *, is_unread: bool = False) -> None:
    """Give a region back, and have the workers unmap its segment if that goes with it."""
    arena.free(region, is_unread=is_unread)
    if region.is_alone:
        for member in members:
            with suppress(Disconnected):
                member.transport.send(Forget(region.segment))
