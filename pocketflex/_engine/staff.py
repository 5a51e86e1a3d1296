"""How many workers there are: hired for the jobs, replaced when they end, and what their ends cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from time import monotonic

from ..errors import WorkerDiedError
from .board import ATTEMPT, SPENT, loading
from .crew import NOTHING, Crew, Departed, most_workers
from .dispatch import Dispatch
from .intake import Intake
from .job import Blamed, Broken, PoolJob
from .postmortem import explain, name_exit
from .ranges import Limits
from .retired import Retired

_MOST_FUTILE_DEATHS = 8  # deaths of workers before they ran an item of a job, besides one for each worker ...
_SHORT = 0.5  # ... without an outcome, each so many seconds after the other at the most


class Staff:
    """Keeps the crew at strength; everything is to be called under the pool's lock."""

    def __init__(
        self,
        crew: Crew,
        dispatch: Dispatch,
        jobs: Mapping[int, PoolJob],
        retired: Retired,
        intake: Intake,
    ) -> None:
        self._crew = crew
        self._dispatch = dispatch
        self._jobs = jobs
        self._retired = retired
        self._intake = intake

    def hire(self) -> None:
        """Have as many workers as the largest job can use, or as can be had, and give all jobs theirs.

        Raises:
            OSError: Not even one can be had.
        """
        wanted = max((_usable_workers(job.limits) for job in self._jobs.values()), default=0)
        while len(self._crew) < wanted and len(self._crew) < most_workers():
            try:
                self._crew.hire()
            except OSError:
                if not len(self._crew):
                    raise
                break
        for job in self._jobs.values():
            self._enlist(job)

    def _enlist(self, job: PoolJob) -> None:
        """Let a job have its workers, first those that run nothing and have the fewest others."""
        missing = _usable_workers(job.limits) - len(job.members)
        if missing <= 0:
            return
        free = [member for member in self._crew if member.slot not in job.members and not member.is_dismissed]
        if len(self._jobs) > 1 or any(member.is_running for member in free):
            jobs = Counter(slot for other in self._jobs.values() for slot in other.members)
            free.sort(key=lambda one: (one.is_running, jobs[one.slot]))
        for member in free[:missing]:
            job.enlist(member)

    def settle(self) -> None:
        """Charge the workers' ends to what they ran and replace them, unless that proves to be futile."""
        ended = self._crew.departed()
        for departed in ended:
            self._charge(departed)
        if not any(departed.reason for departed in ended):
            self._replace()
        elif not len(self._crew):  # else go on with the workers that there are: more cannot be had
            self.give_up(WorkerDiedError(next(departed.reason for departed in ended if departed.reason)))

    def start_afresh(self) -> None:
        """After an exception in the middle of a change: items may be lost, and nobody must wait for them."""
        reason = "a signal handler raised while the worker pool was at work in the main thread"
        self.give_up(WorkerDiedError(reason))
        for member in self._crew:
            self._crew.kill(member.slot)

    def give_up(self, error: WorkerDiedError) -> None:
        """Fail all jobs."""
        for job in self._jobs.values():
            job.inbox.append(Broken(error))

    def _charge(self, departed: Departed) -> None:
        """Take from a worker that has ended what it still sent, and see what its end costs."""
        member = departed.member
        self._intake.read(member)
        member.transport.close()
        is_timeout = member.condemned == departed.running
        # what it ran when the kill arrived is not to blame, and one that has run enough has run nothing
        is_innocent = (member.is_dismissed and not is_timeout) or departed.running.job == SPENT
        running = NOTHING if is_innocent else departed.running
        if running.item < 0 and not is_innocent:
            self._count_futile(departed)
        for job in self._jobs.values():
            if job.members.pop(member.slot, None):
                job.untold = [untold for untold in job.untold if untold is not member]
                for lent in job.blocks.values():
                    lent.holders.discard(member.slot)
                job.ledger.mend(member.slot)
                claimed = job.ledger.owned(member.slot)
                again = member.words.words[ATTEMPT] - 1 if is_timeout else 0
                for blame in self._dispatch.lose(claimed, running, is_final=is_timeout):
                    job.inbox.append(Blamed(blame.item, blame.attempts + again, departed.death, is_timeout))
        self._retired.lose(member.slot)

    def _count_futile(self, departed: Departed) -> None:
        """Charge a worker that ended before it ran an item to the job that it got ready for, or to all that had it."""
        running = departed.running.job
        guilty = loading(running) if running < SPENT else max(running, 0)
        for job in self._jobs.values():
            if departed.member.slot not in job.members or guilty not in (0, job.number):
                continue
            is_row = guilty or monotonic() - job.died_at < _SHORT  # to get ready may take its time
            job.futile_deaths = job.futile_deaths + 1 if is_row else 1
            job.died_at = monotonic()
            if job.futile_deaths == _MOST_FUTILE_DEATHS + job.limits.max_workers:
                how = departed.reason or name_exit(departed.death)
                reason = f"workers end before they run an item, again and again: {how}"
                error = WorkerDiedError(reason)
                explain(error, departed.death)
                job.inbox.append(Broken(error))

    def _replace(self) -> None:
        try:
            self.hire()
        except OSError as error:
            self.give_up(WorkerDiedError(f"no worker process can be started any more: {error}"))


def _usable_workers(limits: Limits) -> int:
    return limits.max_workers if limits.length is None else min(limits.max_workers, limits.length)
