"""The crew: the worker processes as the parent sees them. Knows processes, nothing of jobs or items."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import product

from . import native
from .board import CANCELLED, MAX_WORKERS, NEWS, SPIN, WAITS, Board
from .launch import Process, launch
from .member import Member
from .orders import Death
from .packets import Disconnected, open_pair
from .poller import Poller
from .ranges import Running
from .shm import Arena
from .sizing import usable_cpus
from .socket_transport import SocketTransport
from .spawner import Spawner
from .transport import Forget

# Nanoseconds that either side watches the board before it sleeps: what it costs to be woken up, on a virtual machine.
# To pickle a function by value takes half of it, and a row of such calls must find the workers awake.
_SPIN = 250_000


@dataclass(frozen=True, slots=True)
class Departed:
    """A worker that has ended, and what it was doing.

    Attributes:
        member: The worker; its transport may still hold messages.
        running: What it ran.
        death: How it has ended.
        reason: Why it never ran, empty if it did.
    """

    member: Member
    running: Running
    death: Death
    reason: str = ""


NOTHING = Running(-1, -1)


class Crew:
    """Hires workers, watches them, and says who has ended."""

    def __init__(self, environ: dict[str, str], poller: Poller, process: Process | None) -> None:
        self._environ = environ
        self._poller = poller
        self._board = Board.create()
        self._parent = self._board.parent
        self._arena = Arena()
        self._is_expecting = False
        self._members: dict[int, Member] = {}
        self._by_fd: dict[int, Member] = {}
        self._spawner = Spawner(process, poller) if process is not None else None

    @property
    def arena(self) -> Arena:
        """The memory in which all workers find their items."""
        return self._arena

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._members.values()))  # whoever asks without the lock must not see it change

    def hire(self) -> Member:
        """Ask for a new worker; it can be written to at once. Starts the spawner if there is none.

        Raises:
            OSError: No process or descriptor can be had.
        """
        if self._spawner is None:
            self._spawner = Spawner(launch(self._environ, native.IS_NATIVE), self._poller)
        slot = next(number for number in range(MAX_WORKERS) if number not in self._members)
        self._board.reserve(slot)
        ours, theirs = open_pair()
        with theirs:
            self._spawner.fork(slot, theirs, self._board.descriptor)
        words = self._board.slot(slot)
        transport = SocketTransport(ours, self._arena, may_block=False, note=words.count_packet)
        member = Member(slot, words, transport)
        self._members[slot] = self._by_fd[ours.fileno()] = member
        self._allow_spinning()
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
            return [self._part(exited.slot, exited.death, exited.reason) for exited in ended]
        self._poller.remove(self._spawner.fileno())
        self._spawner.close()
        self._spawner = None
        return [self._part(slot, Death(-signal.SIGKILL), "", NOTHING) for slot in list(self._members)]

    @property
    def lock(self) -> int:
        """The descriptor that pure Python locks in place of atomic operations."""
        return self._board.descriptor

    def _allow_spinning(self) -> None:
        """Let who waits watch the board for a moment, unless workers need the processors for each other."""
        is_wise = native.IS_NATIVE and len(self._members) <= usable_cpus()
        native.store(self._parent, SPIN, _SPIN if is_wise else 0)

    def has_news(self) -> bool:
        """Whether a worker has told something that has not been read."""
        return any(member.has_news() for member in self)

    @property
    def spin(self) -> int:
        """For how many nanoseconds to watch the board before one sleeps, 0 where that is not wise."""
        return self._parent[SPIN]

    def expect(self) -> None:
        """News may come in a moment: the next `poll` watches for it before it sleeps."""
        self._is_expecting = self.spin != 0

    def poll(self, seconds: float) -> list[int]:
        """Wait until a worker has news or a descriptor is ready; returns the descriptors.

        Workers ring only if they see that the parent waits; what they told before is looked at first.
        """
        parent = self._parent
        if self._is_expecting and seconds and self._watch():
            return []
        native.store(parent, WAITS, 1)
        native.fence()
        try:
            return self._poller.poll(0.0 if self.has_news() else seconds)
        finally:
            native.store(parent, WAITS, 0)

    def _watch(self) -> bool:
        """Watch the board for a moment; whether there is news."""
        news = native.load(self._parent, NEWS)
        if self.has_news() or native.spin(self._parent, NEWS, news, _SPIN):
            return True
        self._is_expecting = False  # it takes longer: sleep until somebody rings
        return False

    def nudge(self) -> None:
        """End the wait of whoever polls, or will next. Safe from any thread."""
        self._poller.nudge()

    def cancel(self, slot: int, job: int) -> None:
        """Tell a worker to leave a job at the next item."""
        self._members[slot].words.words[CANCELLED] = job

    def kill(self, slot: int, condemned: Running | None = None) -> None:
        """End a worker, perhaps for the sake of an item, which then is to leave its stack."""
        if self._spawner is not None and slot in self._members and not self._members[slot].is_dismissed:
            self._members[slot].condemned = condemned
            self._members[slot].is_dismissed = True
            self._spawner.kill(slot, wants_stack=condemned is not None)

    def forget_gone(self) -> None:
        """Have all workers unmap the shared arrays that have gone."""
        for segment, member in product(self._arena.gone(), self):
            with suppress(Disconnected):  # its end is about to be reported
                member.transport.send(Forget(segment))

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

    def _part(self, slot: int, death: Death, reason: str, running: Running | None = None) -> Departed:
        member = self._members.pop(slot)
        self.hang_up(member)
        self._allow_spinning()
        running = running or member.running()
        member.hatch.keep()
        member.end = running, death
        return Departed(member, running, death, reason)


def most_workers() -> int:
    """How many workers this process has descriptors for: one each, and a few for the results' memory."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_WORKERS if soft == resource.RLIM_INFINITY else max(1, min(MAX_WORKERS, (soft - 24) // 4))
