"""What the parent and the spawner say to each other. Apart from both: each side loads the other's part of it only."""

from __future__ import annotations

from typing import NamedTuple


class Fork(NamedTuple):
    """To the spawner: fork a worker for a slot of the board; its socket and the board come along."""

    slot: int


class Kill(NamedTuple):
    """To the spawner: end the worker of a slot with SIGKILL, if it still runs."""

    slot: int


class Exited(NamedTuple):
    """From the spawner: a worker has ended.

    Attributes:
        slot: Its slot.
        code: Its exit code, or minus the number of the signal that ended it.
        reason: Why it could not be started, empty if it ran.
    """

    slot: int
    code: int
    reason: str = ""
