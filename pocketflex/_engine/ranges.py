"""Spans of items, the ranges made of them, and what dispatch says is to be done with a range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Span(NamedTuple):
    """Items from `start` up to but not including `stop`."""

    start: int
    stop: int


class Send(NamedTuple):
    """Instruction: give this range, of this job, to this worker."""

    worker: int
    range: int
    job: int


class Blame(NamedTuple):
    """Instruction: this item has failed for good, after so many attempts."""

    job: int
    item: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a job allows.

    Attributes:
        max_workers: Workers that hold its ranges at the same time.
        chunksize: Items in a range; None: decided by `Pace`.
        crash_retries: How often an item is tried again after it has ended its worker.
        length: Number of items, None if unknown.
        is_windowed: Whether planning waits for delivery.
        is_whole: Whether a range is called as a whole, so that blame needs ranges of one item.
    """

    max_workers: int
    chunksize: int | None = None
    crash_retries: int = 1
    length: int | None = None
    is_windowed: bool = False
    is_whole: bool = False


@dataclass(slots=True)
class Held:
    """A range that is offered or running.

    Attributes:
        job: The job that it belongs to.
        span: Its items.
        done: Index up to which outcomes have arrived.
    """

    job: int
    span: Span
    done: int
