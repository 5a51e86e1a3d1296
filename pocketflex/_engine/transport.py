"""What parent and worker say to each other, and the one way in which it travels.

    parent                                        worker
    Load(job)            ─────────────────────▶   unpickle the callable, once a job
    RunRange(range)      ─────────────────────▶   run its items
                         ◀─────────────────────   Results(range, ...), at least one; the last says so
    Drop(job)            ─────────────────────▶   forget the callable
    (closes its end)     ─────────────────────▶   end

Messages are small; blocks lie in shared memory, and a message carries only where. `Transport` is
what the pool and the worker know of all this, so that another one can take the place of
`socket_transport`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from .blocks import Block, Encoded
from .failures import ErrorRecord
from .shm import Region


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
    """Parent to worker: the callable of a job.

    Attributes:
        job: Number of the job, unique in the pool.
        parcel: A pickle of (Surroundings, offset and length of each buffer, pickle of the callable).
        timeout: Seconds that an item may take; the worker then publishes when each item began.
    """

    job: int
    parcel: Parcel
    timeout: float | None


class RunRange(NamedTuple):
    """Parent to worker: run these items.

    Attributes:
        job: The job they belong to.
        range: Number of the range, unique in the pool.
        start: Index of the first item.
        block: The items.
        budget: Seconds after which the rest of the range is handed back; None: never.
    """

    job: int
    range: int
    start: int
    block: Block
    budget: float | None


class Drop(NamedTuple):
    """Parent to worker: the job is over."""

    job: int


class Results(NamedTuple):
    """Worker to parent: outcomes of neighbouring items of a range.

    Attributes:
        job: The job they belong to.
        range: The range they belong to.
        start: Index of the first item.
        block: Their outcomes, None where there are none to tell.
        is_last: Whether the worker is done with the range; the items behind these are handed back.
        seconds: With the last: time spent on the range's items.
    """

    job: int
    range: int
    start: int
    block: Block | None
    is_last: bool
    seconds: float

    @property
    def stop(self) -> int:
        """Index after the last item."""
        return self.start + (self.block.length if self.block else 0)


class LoadFailed(NamedTuple):
    """Worker to parent: the callable of a job cannot be unpickled here."""

    job: int
    error: ErrorRecord


class Surroundings(NamedTuple):
    """Where the caller stands: what a function may see of its process besides its arguments."""

    folder: str
    path: tuple[str, ...]
    argv: tuple[str, ...]
    environ: dict[str, str]


Message = Load | RunRange | Drop | Results | LoadFailed


class Transport(Protocol):
    """One end of the connection between the parent and one worker."""

    def fileno(self) -> int:
        """A descriptor that is readable when a message, or the end, has come."""

    def send(self, message: Message) -> None:
        """Send a message. Blocks, if at all, only the worker's side.

        Raises:
            Disconnected: The other side is gone.
        """

    def receive(self, *, block: bool = True) -> Message | None:
        """The next message; None if there is none yet and `block` is False.

        Raises:
            Disconnected: The other side is gone and everything it sent has been read.
        """

    def write(self, encoded: Encoded) -> Block:
        """Copy a block into memory that the other side can read. Safe from any thread.

        Raises:
            OSError: There is not enough memory.
        """

    def private(self, region: Region) -> Any:
        """A copy-on-write mapping of a region of the other side."""

    def memory(self, region: Region) -> Any:
        """The mapping in which a region of the other side lies."""

    def view(self, region: Region) -> memoryview:
        """The bytes of a region of the other side."""

    def forget(self, region: Region) -> None:
        """Unmap a region of the other side that is alone; others stay mapped for the next use."""

    def release(self, region: Region) -> None:
        """Forget a region and say, with the next message, that the other side may use it again."""

    def close(self) -> None:
        """Close this end."""
