"""What the race and the runners say to each other: frozen records, pickled over a pipe.

race ── Pilot, Turn ──> runner (one process a peer)
     <── Chosen, Figure, Refused ──
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """What all runners of one run must agree on.

    Attributes:
        is_quick: Small sizes: a smoke test, whose figures mean nothing.
        turns: Turns of `functions.burn` that take 100 us on this machine.
    """

    is_quick: bool
    turns: int

    def size(self, full: int, quick: int) -> int:
        """`full`, or `quick` in a smoke test."""
        return quick if self.is_quick else full


@dataclass(frozen=True)
class Form:
    """One way to use a peer.

    Attributes:
        style: Which of the peer's ways, such as ``map`` or ``chunks``.
        size: Items in a chunk, or at once on an event loop; 0 where the way has no size.
    """

    style: str
    size: int = 0

    def __str__(self) -> str:
        return f"{self.style} {self.size}" if self.size else self.style


@dataclass(frozen=True)
class Pilot:
    """Try every form on the workload and keep the best; this also warms the peer up."""

    work: str
    setting: Setting


@dataclass(frozen=True)
class Turn:
    """Measure one form once.

    Attributes:
        work: Key of the workload.
        form: What to measure.
        is_warmed: Whether an untimed call comes first.
        setting: As in the pilot.
    """

    work: str
    form: Form
    is_warmed: bool
    setting: Setting


@dataclass(frozen=True)
class Chosen:
    """The best form of the pilot, and whether it is quick enough for an untimed call before each turn."""

    form: Form
    is_warmed: bool


@dataclass(frozen=True)
class Figure:
    """What a turn gave: seconds or bytes."""

    value: float


@dataclass(frozen=True)
class Refused:
    """The peer could not do it, or gave a wrong answer.

    Attributes:
        reason: One line.
        is_lacking: The peer does not know an option that this needs: a row without a figure, not an error.
    """

    reason: str
    is_lacking: bool = False


Request = Pilot | Turn
Reply = Chosen | Figure | Refused
