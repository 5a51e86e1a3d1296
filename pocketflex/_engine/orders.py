"""What the parent and the spawner say to each other. Apart from both: each side loads the other's part of it only."""

from __future__ import annotations

from typing import NamedTuple


class Fork(NamedTuple):
    """To the spawner: fork a worker for a slot of the board; its socket and the board come along."""

    slot: int


class Kill(NamedTuple):
    """To the spawner: end the worker of a slot, if it still runs.

    Attributes:
        slot: Its slot.
        wants_stack: Whether it is to write its Python stack first, for which it has a moment.
    """

    slot: int
    wants_stack: bool = False


class Death(NamedTuple):
    """How a worker has ended, and what it has left.

    Attributes:
        code: Its exit code, or minus the number of the signal that ended it.
        peak: The most memory that it had, in bytes, 0 if that is not known.
        stack: Its last Python stack as faulthandler writes it, empty where it left none.
        is_starved: Whether the kernel has killed it because memory ran out; None if that is not known.
    """

    code: int
    peak: int = 0
    stack: str = ""
    is_starved: bool | None = None


class Exited(NamedTuple):
    """From the spawner: a worker has ended.

    Attributes:
        slot: Its slot.
        death: How.
        reason: Why it could not be started, empty if it ran.
    """

    slot: int
    death: Death
    reason: str = ""
