"""The part that the owner of a job has in running its items, beside the workers: which items those are.

    take    what would be encoded next, straight from the input    ── run ──▶  done
    claim   what is encoded already and no worker has claimed      ── run ──▶  settle

To take is cheaper: nothing has been encoded in vain. To claim is for the end of a job, when all is
encoded and the workers have yet to come to it. Either way an index is the owner's alone until it says
what it has run. Nothing is run here, and nothing under the lock but to decide.
"""

from __future__ import annotations

from .board import MAX_WORKERS
from .dispatch import Dispatch
from .intake import Intake
from .job import PoolJob
from .ledger import Claim
from .ranges import Span
from .turn import Turn

_OWNER = MAX_WORKERS  # in a ledger, the slot that no worker has


class Part:
    """Called by the thread that owns the job."""

    def __init__(self, turn: Turn, dispatch: Dispatch, intake: Intake, job: PoolJob) -> None:
        self._turn = turn
        self._dispatch = dispatch
        self._intake = intake
        self._job = job

    @property
    def is_joined(self) -> bool:
        """Whether this process may run items: not once one has ended a worker."""
        with self._turn.hold():
            return self._is_open() and self._dispatch.is_joined(self._job.number)

    def take(self, least: int, most: int) -> Span | None:
        """A span that nobody has encoded, of half an even share of what is left, if that is within the bounds."""
        job = self._job
        left = job.ledger.left
        fair = most if left is None else left // 2 // job.limits.claimers
        with self._turn.hold():
            return self._dispatch.take(job.number, max(least, min(most, fair))) if self._is_open() else None

    def done(self, taken: Span, at: int, seconds: float) -> None:
        """A span that was taken has been run up to item `at`, which took so long."""
        with self._turn.hold():
            if self._is_open():
                self._dispatch.leave(self._job.number, taken, at, seconds)
                self._job.ledger.withdraw(at - taken.start)

    def claim(self, want: int) -> Claim | None:
        """Items that are encoded, claimed as a worker claims them."""
        with self._turn.hold():
            is_joined = self._is_open() and self._dispatch.is_joined(self._job.number)
            return self._job.ledger.claim(_OWNER, want) if is_joined else None

    def settle(self, claim: Claim, at: int, seconds: float) -> None:
        """A claim has been run up to item `at`, which took so long; the rest is for whoever comes."""
        job, number, (whole, rest) = self._job, claim.entry.number, claim.unbegun(at)
        with self._turn.hold():
            if not self._is_open():
                return
            if at > claim.span.start:
                self._dispatch.arrive(number, Span(claim.span.start, at), seconds)
            if whole:
                job.ledger.hand_back(claim, whole, _OWNER)
                job.ring(whole)
            self._dispatch.hand_back(number, rest)
            self._intake.finish(job, number)

    def _is_open(self) -> bool:
        return self._intake.knows(self._job)
