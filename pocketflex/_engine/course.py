"""The course of one job, as dispatch sees it: how far it has got, and how much is next. Decides and does nothing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from .pace import Pace
from .ranges import MOST_GRAINS, Limits, Span, Tried

_SHARES = 4  # claims that a block is made for: of less, much would be remainders
_AHEAD = 2  # claims for each worker that wait unclaimed
_ABSENCE = 1.0  # seconds that the owner may be in an item: its workers fill the board with records in two or three
_ROOMS = 4  # blocks for each worker that wait for that: of 2 MB at the most
_OVERRUN = 100  # of so many items that a worker may run, it may run one more
_FADING = 0.9  # what is left of a peak with each claim that needs less
_WINDOW = 4  # claims for each worker in the window: enough for one slow item to hold back its neighbours


@dataclass(slots=True)
class Course:
    """What has been planned of a job, and what is known of its items."""

    limits: Limits
    pace: Pace = field(default_factory=Pace)
    planned: int = 0  # index up to which items have been planned for the first time
    delivered: int = 0
    is_sealed: bool = False
    lots: int = 0
    again: deque[Span] = field(default_factory=deque)  # to be encoded once more, before any new item
    crashes: dict[int, int] = field(default_factory=dict)  # item -> workers that it has ended
    tried: dict[int, Tried] = field(default_factory=dict)  # item that is tried again after a wait -> its past
    peak: float = 0.0  # bytes that a worker needed for a claim, as far as is known

    def share(self) -> int:
        """Items that a worker claims at a time."""
        return self.limits.chunksize or self.pace.size()

    def ration(self) -> int | None:
        """Blocks of one item that may be under way, so that memory will do for them; None: no need to count."""
        if self.limits.nbytes is None:
            return None
        most = max(1, int(self.limits.nbytes // self.peak)) if self.peak else 1
        return most if most < self.limits.max_workers else None

    def enough(self) -> int:
        """Items that are to wait unclaimed."""
        each = _AHEAD * self.share()
        if self.limits.is_joined and self.pace.is_dear:
            each = max(each, min(self.pace.within(_ABSENCE), _ROOMS * self.pace.room))
        return each * self.limits.max_workers

    def need(self, nbytes: int) -> None:
        """A worker needed so much memory for a claim."""
        self.peak = max(nbytes, _FADING * self.peak)

    def size(self) -> int:
        """Items in the next block: what a worker claims at a time, more where they can be shared out."""
        shares = _SHARES if self.pace.is_known else 1  # the first ones can be claimed item by item
        size = 1 if self.ration() else min(shares * self.pace.size(), self.pace.room)
        return self.limits.chunksize or min(size, MOST_GRAINS * self.grain(size))

    def grain(self, size: int) -> int:
        """Items that are claimed together, in a block of so many."""
        grain = max(self.pace.grain(), -(-size // MOST_GRAINS))
        most = max(1, self.limits.tasks // _OVERRUN) if self.limits.tasks else grain
        return self.limits.chunksize or min(grain, most)

    def is_window_full(self) -> bool:
        """Whether delivery must go on before more is planned."""
        window = _WINDOW * self.limits.claimers * self.share()
        if self.limits.chunksize is None:
            window = max(window, MOST_GRAINS)  # small items on probation are read a block at a time
        return self.limits.is_windowed and self.planned - self.delivered >= window
