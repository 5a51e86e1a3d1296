"""A job of one item, which an idle worker runs as an errand; where that is not to be, it becomes a job of the pool."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator
from typing import Any

from .._engine import payload
from .._engine.arrays import is_array
from .._engine.blocks import COLUMNS, EncodingFailed
from .._engine.errands import Ended, Errand, Errands, Lost, Returned
from .._engine.hatch import NBYTES as HATCH_NBYTES
from .._engine.hearing import Work
from .._engine.home import shared_pool
from .._engine.job import Arrived
from .._engine.results import ResultReader
from .._engine.sizing import usable_cpus
from .._engine.standpoint import surroundings
from ..options import BatchOptions
from ..outcome import Failure, Outcomes, trace
from .base import Job, Run
from .owner import crash, read_list, unsendable


def is_single(job: Job, options: BatchOptions) -> bool:
    """Whether a job has one item, of any duration, no initializer, no waits, and no array or chunk."""
    items: Any = job.items
    return (
        type(items) in (list, tuple, range)
        and len(items) == 1
        and not is_array(items[0])
        and options.timeout is None
        and options.max_tasks_per_child is None
        and options.memory_limit is None
        and job.call.chunk is None
        and not job.call.retry.waits
        and options.initializer is None
    )


class SingleRun:
    """A job of one item under way, driven by the thread that iterates over it."""

    def __init__(self, job: Job, options: BatchOptions, become: Callable[..., Run]) -> None:
        """Get ready; `become` makes a job of the pool of it, given job, options, `pickled` and `crashes`.

        Raises:
            PayloadError: The callable cannot be pickled.
        """
        self.workers = options.max_workers or usable_cpus()
        self._job = job
        self._items: Any = job.items
        self._options = options
        self._become = become
        self._pickled = payload.dump_callable(job.call, job.label)
        self._errand: tuple[Errands, Errand] | None = None
        self._run: Run | None = None  # that it has become
        self._is_cancelled = False

    def cancel(self) -> None:
        """Stop the job from any thread."""
        self._is_cancelled = True
        if self._errand is not None:
            Errands.cancel(*self._errand)
        if self._run is not None:
            self._run.cancel()

    def __iter__(self) -> Generator[Outcomes, None, None]:
        try:
            ended = self._run_errand()
        except EncodingFailed as failed:
            yield self._fail(unsendable(0, failed.cause))
            return
        if isinstance(ended, Lost):
            yield from self._run_job(ended)
        else:
            outcomes = _read(ended)
            for failure in outcomes.failures:
                trace(failure, self._job.call, self._items)
            yield outcomes

    def _fail(self, failure: Failure) -> Outcomes:
        trace(failure, self._job.call, self._items)
        return Outcomes(0, [failure], (failure,))

    def _run_errand(self) -> Ended:
        errands = shared_pool().errands
        call, buffers = self._pickled
        item = self._carry() if errands.are_possible and not buffers else None
        if item is None:
            return Lost()
        errand = Errand(surroundings(self.workers), call, item, Work(self._job.label, self._job.index_of))
        self._errand = errands, errand
        if self._is_cancelled:
            return Lost()
        return errands.run(errand)

    def _carry(self) -> list[Any] | bytes | None:
        """The item as an errand takes it, None where a job is to carry it."""
        item = self._items[0]
        return [item] if type(item) in COLUMNS else _pickle_short(item)

    def _run_job(self, lost: Lost) -> Generator[Outcomes, None, None]:
        if self._is_cancelled:
            return
        crashes = 0
        if lost.death is not None:
            crashes = 1
            if not self._options.crash_retries:
                yield self._fail(crash(0, crashes, lost.death))
                return
        self._run = self._become(self._job, self._options, pickled=self._pickled, crashes=crashes)
        if not self._is_cancelled:
            yield from self._run


def _pickle_short(item: Any) -> bytes | None:
    """A pickle that stands alone and is short; None where there is none, and a job is to carry the item.

    Raises:
        EncodingFailed: It cannot be pickled at all.
    """
    pickler = payload.ObjectPickler(_Short())
    try:
        data, buffers = pickler.dump(item)
    except KeyboardInterrupt:
        raise
    except _TooLong:
        return None
    except BaseException as error:
        raise EncodingFailed(None, error) from error
    return None if buffers or pickler.shared() else data


class _TooLong(Exception):
    pass


class _Short(io.BytesIO):
    """Refuses what is long, as soon as it comes: 64 KB at a time, long pieces by themselves."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > HATCH_NBYTES:
            raise _TooLong
        return super().write(data)


def _read(ended: Returned | Arrived) -> Outcomes:
    if isinstance(ended, Returned):
        return Outcomes(0, [ended.result])
    return read_list(ResultReader(ended.record.region, ended.memory, 1, ended.release), 0, 1)
