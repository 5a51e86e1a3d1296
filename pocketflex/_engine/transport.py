"""What parent and worker say to each other besides items and outcomes, which they find in shared memory.

    parent                                        worker
    Load(job)            ─────────────────────▶   unpickle the callable, claim the job's items from now on
                         ◀─────────────────────   LoadFailed(job)
    Ring                 ─────────────────────▶   wake up: there is something to claim, or room for records
                         ◀─────────────────────   Ring: wake up, there are records
    Drop(job)            ─────────────────────▶   forget the callable; a record says when nothing is read any more
    Forget(segment)      ─────────────────────▶   unmap a segment that has gone
    (closes its end)     ─────────────────────▶   end

Messages are rare and small. `Transport` is what the pool and the worker know of all this.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from .failures import ErrorRecord
from .segments import Region
from .shm import Arena, Lens


class Parcel(NamedTuple):
    """Where a job's callable lies.

    Attributes:
        region: The region of the pickle.
        nbytes: Bytes of the pickle.
        buffers: The region of its buffers, or None where there are none.
    """

    region: Region
    nbytes: int
    buffers: Region | None


class Load(NamedTuple):
    """Parent to worker: take part in a job.

    Attributes:
        job: Number of the job, unique in the pool.
        parcel: A pickle of (Surroundings, offset and length of each buffer, pickle of the callable).
        ledger: Where the job's ledger lies.
        timeout: Seconds that an item may take; the worker then publishes when each item began.
        is_fixed: Whether items are claimed in multiples that the user has fixed.
    """

    job: int
    parcel: Parcel
    ledger: Region
    timeout: float | None
    is_fixed: bool


class Drop(NamedTuple):
    """Parent to worker: the job is over."""

    job: int


class Forget(NamedTuple):
    """Parent to worker: a segment has gone."""

    segment: int


class Ring(NamedTuple):
    """To the other side, which waits: there is news in shared memory."""


class LoadFailed(NamedTuple):
    """Worker to parent: the callable of a job cannot be unpickled here."""

    job: int
    error: ErrorRecord


class Surroundings(NamedTuple):
    """Where the caller stands: what a function may see of its process besides its arguments."""

    folder: str
    path: tuple[str, ...]
    argv: tuple[str, ...]
    environ: dict[bytes, bytes]


Message = Load | Drop | Forget | Ring | LoadFailed


class Transport(Protocol):
    """One end of the connection between the parent and one worker."""

    @property
    def arena(self) -> Arena:
        """This side's memory."""

    @property
    def is_overrun(self) -> bool:
        """Whether a message was lost, because the other side has not read for long."""

    @property
    def lens(self) -> Lens:
        """The other side's memory."""

    def fileno(self) -> int:
        """A descriptor that is readable when a message, or the end, has come."""

    def send(self, message: Message) -> None:
        """Send a message. Blocks, if at all, only the worker's side; the parent's notes that a worker is overrun.

        Raises:
            Disconnected: The other side is gone.
        """

    def introduce(self, *segments: int) -> None:
        """Let the other side map segments of this side's arena, unless it has them.

        Raises:
            Disconnected: The other side is gone.
        """

    def put_off(self, message: Message) -> None:
        """Send a message together with the next `send`: the other side need not wake up for it."""

    def receive(self, *, block: bool = True) -> Message | None:
        """The next message; None if there is none yet and `block` is False.

        Raises:
            Disconnected: The other side is gone and everything it sent has been read.
        """

    def memory(self, segment: int) -> Any:
        """The mapping of a segment of the other side, which it has introduced."""

    def close(self) -> None:
        """Close this end."""
