"""The crew: the worker processes as the parent sees them. Knows processes, nothing of jobs or items."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic_ns

from .board import BEGAN, CANCELLED, INDEX, MAX_WORKERS, RANGE, Board
from .packets import open_pair
from .poller import Poller
from .shm import Arena
from .socket_transport import SocketTransport
from .spawner import Spawner
from .transport import Transport


@dataclass(eq=False, slots=True)
class Member:
    """One worker.

    Attributes:
        slot: Its slot on the board; its name everywhere in the parent.
        transport: The parent's end of its connection.
        loaded: The jobs whose callable it has been sent.
        condemned: The range and the item for which it is being killed, if it is.
        is_dismissed: Whether its end is the pool's own doing.
    """

    slot: int
    transport: Transport
    loaded: set[int] = field(default_factory=set)
    condemned: tuple[int, int] | None = None
    is_dismissed: bool = False


@dataclass(frozen=True, slots=True)
class Departed:
    """A worker that has ended, and what it was doing.

    Attributes:
        member: The worker; its transport may still hold messages.
        range: The range that it ran, -1 for none.
        index: The item that it ran, -1 for none.
        code: Exit code, or minus the number of the signal.
        reason: Why it never ran, empty if it did.
    """

    member: Member
    range: int
    index: int
    code: int
    reason: str = ""


class Crew:
    """Hires workers, watches them, and says who has ended."""

    def __init__(self, environ: dict[str, str], poller: Poller) -> None:
        self._environ = environ
        self._poller = poller
        self._board = Board.create()
        self._arena = Arena()
        self._members: dict[int, Member] = {}
        self._by_fd: dict[int, Member] = {}
        self._spawner: Spawner | None = None

    @property
    def arena(self) -> Arena:
        """The memory in which all workers find their items."""
        return self._arena

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def __getitem__(self, slot: int) -> Member:
        return self._members[slot]

    def hire(self) -> Member:
        """Ask for a new worker; it can be written to at once. Starts the spawner if there is none.

        Raises:
            OSError: No process or descriptor can be had.
        """
        if self._spawner is None:
            self._spawner = Spawner(self._board, self._environ)
            self._poller.add(self._spawner.fileno())
        slot = next(number for number in range(MAX_WORKERS) if number not in self._members)
        self._board.clear(slot)
        ours, theirs = open_pair()
        with theirs:
            self._spawner.fork(slot, theirs)
        member = Member(slot, SocketTransport(ours, self._arena))
        self._members[slot] = self._by_fd[ours.fileno()] = member
        self._poller.add(ours.fileno())
        return member

    def find(self, fd: int) -> Member | None:
        """The worker whose connection has that descriptor."""
        return self._by_fd.get(fd)

    def hang_up(self, member: Member) -> None:
        """Stop waiting for a worker that has closed its end; its exit is reported by itself."""
        if self._by_fd.pop(member.transport.fileno(), None):
            self._poller.remove(member.transport.fileno())

    def is_news(self, fd: int) -> bool:
        """Whether `fd` says that `departed` has something to tell."""
        return self._spawner is not None and fd == self._spawner.fileno()

    def departed(self) -> list[Departed]:
        """The workers that have ended since the last call.

        When the spawner itself has ended, all of them have, and nobody is to blame.
        """
        if self._spawner is None:
            return []
        ended = self._spawner.receive()
        if ended is not None:
            return [self._part(exited.slot, exited.code, exited.reason) for exited in ended]
        self._poller.remove(self._spawner.fileno())
        self._spawner.close()
        self._spawner = None
        return [Departed(self._remove(slot), -1, -1, -signal.SIGKILL) for slot in list(self._members)]

    def running(self, member: Member) -> int:
        """The range that a worker runs, -1 for none."""
        return self._board.slot(member.slot)[RANGE]

    def seconds_running(self, member: Member) -> tuple[int, float]:
        """The item that a worker runs and since when; -1 and 0 between ranges."""
        slot = self._board.slot(member.slot)
        index = slot[INDEX]  # read before the time: the worker writes them in the other order
        return (index, (monotonic_ns() - slot[BEGAN]) / 1e9) if index >= 0 and slot[BEGAN] else (-1, 0.0)

    def cancel(self, slot: int, job: int) -> None:
        """Tell a worker to leave a job at the next item."""
        self._board.slot(slot)[CANCELLED] = job

    def kill(self, slot: int, condemned: tuple[int, int] | None = None) -> None:
        """End a worker, perhaps for the sake of a range and an item."""
        if self._spawner is not None:
            self._members[slot].condemned = condemned
            self._members[slot].is_dismissed = True
            self._spawner.kill(slot)

    def close(self) -> None:
        """End everybody and give the memory back."""
        if self._spawner is not None:
            self._spawner.close()
            self._spawner = None
        for member in self._members.values():
            member.transport.close()
        self._members.clear()
        self._by_fd.clear()
        self._arena.close()
        self._board.close()

    def disown(self) -> None:
        """In a forked child: close the copies of the connections; everything else is the parent's."""
        if self._spawner is not None:
            self._spawner.disown()
        for member in self._members.values():
            member.transport.close()

    def _part(self, number: int, code: int, reason: str) -> Departed:
        slot = self._board.slot(number)
        return Departed(self._remove(number), slot[RANGE], slot[INDEX], code, reason)

    def _remove(self, slot: int) -> Member:
        member = self._members.pop(slot)
        self.hang_up(member)
        return member


def most_workers() -> int:
    """How many workers this process has descriptors for: one each, and a few for the results' memory."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_WORKERS if soft == resource.RLIM_INFINITY else max(1, min(MAX_WORKERS, (soft - 24) // 4))


def name_exit(code: int) -> str:
    """What an exit code says, in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = {"SIGKILL": "killed, perhaps because memory ran out", "SIGSEGV": "segmentation fault"}.get(name)
    return f"{name} ({hint})" if hint else name
