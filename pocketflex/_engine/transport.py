"""What parent and worker say to each other besides items and outcomes, which they find in shared memory.

    parent                                        worker
    Load(job)            ─────────────────────▶   unpickle the callable, claim the job's items from now on (a letter
                                                  on the board, board.py; only where it has no room, a message)
                         ◀─────────────────────   LoadFailed(job): no item of it can run here
    Ring                 ─────────────────────▶   wake up: there is something to claim, or room for records
                         ◀─────────────────────   Ring: wake up, there are records
                         ◀─────────────────────   Said(job, piece): what items print, log and warn of
                         ◀─────────────────────   Drained: there is room for what is owed
    Forget(segment)      ─────────────────────▶   unmap a segment that has gone
    (closes its end)     ─────────────────────▶   end

Messages are rare and small. `Transport` is what the pool and the worker know of all this.
"""

from __future__ import annotations

import marshal
import os
from typing import Any, NamedTuple, Protocol

from .failures import ErrorRecord
from .lens import Lens
from .ranges import NO_LIMIT, Endurance
from .segments import Region
from .shm import Arena


class Parcel(NamedTuple):
    """Where a pickle lies: a job's callable, or its `Surroundings`.

    Attributes:
        number: Its number, unique in the pool.
        region: The region of the pickle.
        nbytes: Bytes of the pickle.
        buffers: The region of its buffers, or None where there are none. With buffers it is a pickle of
            (offset and length of each, pickle of the callable).
    """

    number: int
    region: Region
    nbytes: int
    buffers: Region | None


class Load(NamedTuple):
    """Parent to worker: take part in a job.

    Attributes:
        job: Number of the job, unique in the pool.
        sheet: Where its ledger lies, and behind it its terms. Once the ledger is closed, the job is over.
        nbytes: Bytes of the terms.
    """

    job: int
    sheet: Region
    nbytes: int


class Terms(NamedTuple):
    """What a worker is to know of a job.

    Attributes:
        surroundings: Where its caller stands, a pickle of `Surroundings`.
        call: Its callable.
        timeout: Seconds that an item may take; the worker then publishes when each item began.
        is_fixed: Whether items are claimed in multiples that the user has fixed.
        endurance: After what its workers are replaced.
    """

    surroundings: Parcel
    call: Parcel
    timeout: float | None
    is_fixed: bool
    endurance: Endurance = NO_LIMIT

    def dump(self) -> bytes:
        """These terms as bytes."""
        (number, here, nbytes, _), call = self.surroundings, self.call
        buffers = call.buffers and tuple(call.buffers)
        return marshal.dumps(
            (number, tuple(here), nbytes, call.number, tuple(call.region), call.nbytes, buffers,
             self.timeout, self.is_fixed, *self.endurance)
        )  # fmt: skip

    @classmethod
    def load(cls, data: Any) -> Terms:
        """The terms that `dump` gave."""
        number, here, nbytes, call, region, size, buffers, timeout, is_fixed, *endurance = marshal.loads(data)
        parcel = Parcel(call, Region(*region), size, buffers and Region(*buffers))
        return cls(Parcel(number, Region(*here), nbytes, None), parcel, timeout, is_fixed, Endurance(*endurance))


TERMS_NBYTES = 256  # room for what `Terms.dump` gives


class Forget(NamedTuple):
    """Parent to worker: a segment has gone."""

    segment: int


class Ring(NamedTuple):
    """To the other side, which waits: there is news in shared memory."""


class LoadFailed(NamedTuple):
    """Worker to parent: the callable of a job cannot be unpickled here, or the job's initializer has failed."""

    job: int
    error: ErrorRecord
    is_initializer: bool = False


class Said(NamedTuple):
    """Worker to parent: a piece of a pickle of what items of a job have said (voice.py).

    Attributes:
        job: Number of the job, or errand.
        piece: Bytes of it.
        is_last: Whether it is whole with this piece.
    """

    job: int
    piece: bytes
    is_last: bool


class Drained(NamedTuple):
    """Worker to parent: it has read all that there was, which was much, or lacks memory that it was told of."""


Filter = tuple[str, Any, tuple[str, str], Any, int]  # of warnings: action, message, category, module, line


class Ears(NamedTuple):
    """What the caller listens to of what items say.

    Attributes:
        levels: Levels of the loggers that have one, by name.
        disabled: The level up to which all loggers are switched off.
        filters: The filters of warnings, with names in place of classes.
        has_stdout: Whether what is printed goes elsewhere than to the descriptor that workers have too.
        has_stderr: The same of standard error.
    """

    levels: tuple[tuple[str, int], ...] = ()
    disabled: int = 0
    filters: tuple[Filter, ...] = ()
    has_stdout: bool = False
    has_stderr: bool = False


class Surroundings(NamedTuple):
    """Where the caller stands: what a function may see of its process besides its arguments."""

    folder: str
    path: tuple[str, ...]
    argv: tuple[str, ...]
    environ: dict[bytes, bytes]
    ears: Ears = Ears()


def environ_now() -> dict[bytes, bytes]:
    """The environment, not to be changed: what lies behind os.environb, which to copy costs more than a short call."""
    now: dict[bytes, bytes] = os.environb._data  # type: ignore[attr-defined]
    return now


Message = Load | Forget | Ring | LoadFailed | Said | Drained


class Transport(Protocol):
    """One end of the connection between the parent and one worker."""

    @property
    def arena(self) -> Arena:
        """This side's memory."""

    @property
    def lens(self) -> Lens:
        """The other side's memory."""

    def fileno(self) -> int:
        """A descriptor that is readable when a message, or the end, has come."""

    def send(self, message: Message) -> None:
        """Send a message. Only the worker's side waits for room; what has none on the parent's is sent later, in order.

        Raises:
            Disconnected: The other side is gone.
        """

    def flush(self) -> bool:
        """Send what there was no room for, as far as there is now; whether there was anything.

        Raises:
            Disconnected: The other side is gone.
        """

    def introduce(self, *segments: int) -> None:
        """Let the other side map segments of this side's arena, unless it has them.

        Raises:
            Disconnected: The other side is gone.
        """

    def receive(self, *, block: bool = True) -> Message | None:
        """The next message; None if there is none yet and `block` is False.

        Raises:
            Disconnected: The other side is gone and everything it sent has been read.
        """

    def is_ready(self, seconds: float) -> bool:
        """Wait for something to receive, for so long at the most; whether there is."""

    def memory(self, segment: int) -> Any:
        """The mapping of a segment of the other side, which it has introduced."""

    def close(self) -> None:
        """Close this end."""
