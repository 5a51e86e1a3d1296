"""What every executor promises.

An executor takes a `Job` and yields the outcome of each of its items, exactly one an item, in
input order unless the options say otherwise. It applies `timeout`, `chunksize`, `max_workers`; it
knows nothing of flows and applies no `on_error`: that is `settlement.Settlement`, once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, NamedTuple, Protocol

from ..call import Call
from ..options import BatchOptions
from ..outcome import Outcomes


class Job(NamedTuple):
    """One callable and the items it is called with.

    Attributes:
        call: What is done with each item. Where it has an `initializer`, each process that runs items calls it
            once before them.
        items: Any iterable; an ndarray's items are its rows. Read once, as fast as it is needed.
        label: Names the work in messages, such as ``node Parse``.
        is_streamed: Whether outcomes are consumed as they come, so that only a bounded number of
            them may wait for a slow item before them; otherwise all of them are kept anyway.
        is_array: Whether the results of neighbouring items may come as an ndarray with a row for each.
        waiting: Where an executor may keep outcomes that it has and cannot yield yet, by index of the first: when
            the call ends with an exception they are not lost.
        told: Where an executor holds outcomes back until those before them are there, it calls this with
            them at once, from any thread, if it can; None: nobody wants to know.
        index_of: From the number of an item here to its index in the input, where the job has only some of the items.
        target: A list with room for the entry of each item, which an executor may put there itself.
    """

    call: Call
    items: Iterable[Any]
    label: str
    is_streamed: bool = False
    is_array: bool = False
    target: list[Any] | None = None
    waiting: dict[int, Outcomes] | None = None
    told: Callable[[Outcomes], object] | None = None
    index_of: Callable[[int], int] = int


class Run(Protocol):
    """A job under way: iterate to drive it and to receive its outcomes."""

    @property
    def workers(self) -> int:
        """How many workers may take part."""

    def __iter__(self) -> Generator[Outcomes, None, None]:
        """The outcomes; closing the iterator early stops the job."""

    def cancel(self) -> None:
        """Stop the job from any thread: the iteration ends early, without an error."""


class Executor(Protocol):
    """Where the items of a batch run."""

    def start(self, job: Job, options: BatchOptions) -> Run:
        """Begin a job. Raises before any item runs if the job cannot run here."""
