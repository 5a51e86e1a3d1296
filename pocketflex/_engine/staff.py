"""How many workers there are: hired for the jobs, replaced when they end, and what their ends cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..errors import WorkerDiedError
from .crew import Crew, Departed, Member, most_workers, name_exit
from .dispatch import Dispatch
from .job import Blamed, Broken, PoolJob
from .ranges import Limits

_MOST_FUTILE_DEATHS = 8  # deaths of workers before they ran an item of a job, besides one for each worker


class Staff:
    """Keeps the crew at strength; everything is to be called under the pool's lock."""

    def __init__(
        self, crew: Crew, dispatch: Dispatch, jobs: Mapping[int, PoolJob], read: Callable[[Member], None]
    ) -> None:
        """Wire it up; `read` takes in what a worker has sent."""
        self._crew = crew
        self._dispatch = dispatch
        self._jobs = jobs
        self._read = read

    def hire(self) -> None:
        """Have as many workers as the largest job can use, or as can be had.

        Raises:
            OSError: Not even one can be had.
        """
        wanted = [_usable_workers(job.limits) for job in self._jobs.values()]
        while len(self._crew) < min(max(wanted, default=0), most_workers()):
            try:
                self._dispatch.join(self._crew.hire().slot)
            except OSError:
                if not len(self._crew):
                    raise
                return

    def settle(self) -> None:
        """Charge the workers' ends to what they ran and replace them, unless that proves to be futile."""
        ended = self._crew.departed()
        for departed in ended:
            self._charge(departed)
        if not any(departed.reason for departed in ended):
            self._replace()
        elif not len(self._crew):  # else go on with the workers that there are: more cannot be had
            self.give_up(WorkerDiedError(next(departed.reason for departed in ended if departed.reason)))

    def give_up(self, error: WorkerDiedError) -> None:
        """Fail all jobs."""
        for job in self._jobs.values():
            job.inbox.append(Broken(error))

    def _charge(self, departed: Departed) -> None:
        """Take from a worker that has ended what it still sent, and see what its end costs."""
        member = departed.member
        self._read(member)
        member.transport.close()
        is_timeout = member.condemned == (departed.range, departed.index)
        is_innocent = member.is_dismissed and not is_timeout  # what it ran when the kill arrived is not to blame
        index = -1 if is_innocent else departed.index
        if index < 0 and not is_innocent:
            self._count_futile(departed)
        for blame in self._dispatch.lose(member.slot, departed.range, index, is_final=is_timeout):
            self._jobs[blame.job].inbox.append(Blamed(blame.item, blame.attempts, departed.code, is_timeout))

    def _count_futile(self, departed: Departed) -> None:
        """Charge a worker that ended before it ran an item to the job whose range it had."""
        held = self._dispatch.held(departed.member.slot)
        job = self._jobs.get(held.job) if held else None
        if job is None:
            return
        job.futile_deaths += 1
        if job.futile_deaths == _MOST_FUTILE_DEATHS + job.limits.max_workers:
            how = departed.reason or name_exit(departed.code)
            job.inbox.append(Broken(WorkerDiedError(f"workers end before they run an item, again and again: {how}")))

    def _replace(self) -> None:
        try:
            self.hire()
        except OSError as error:
            self.give_up(WorkerDiedError(f"no worker process can be started any more: {error}"))


def _usable_workers(limits: Limits) -> int:
    return limits.max_workers if limits.length is None else min(limits.max_workers, limits.length)
