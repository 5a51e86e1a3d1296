"""What had finished when a call ended with an exception. It is kept on the exception, and gone with it.

Nothing is collected for this: whoever runs a batch hands over, when an exception passes, the results that it has
anyway. They are put into a dict only if somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any, Protocol

from .assembly import Assembly
from .outcome import Failure, Outcome, Outcomes, Value, add_note_once
from .settlement import Settlement

_NAME = "_pocketflex_partial"


class Harvest(Protocol):
    """The outcomes that a batch has, each with the index of its item."""

    def __len__(self) -> int:
        """How many there are."""

    def __iter__(self) -> Iterator[tuple[int, Outcome]]:
        """Each of them, in any order."""


def partial(error: BaseException) -> dict[int, Outcome]:
    """The outcomes of the items that had finished when a call ended with this exception.

    A `KeyboardInterrupt`, a `CancelledError` and what ``on_error="raise"`` raises have them; so do the exceptions
    that Python makes of these, such as the TimeoutError of `asyncio.timeout` and the KeyboardInterrupt of
    `asyncio.run`. Of several batches of a flow they are those of the one that ended with it; those of
    `parallel_imap` are what had not been yielded yet. Results live as long as the exception does; a copy of it
    that was pickled has none.

    Args:
        error: What the call raised.

    Returns:
        `Value` or `Failure` by index of the item, in the order of the items; empty if nothing had finished, or the
        exception came from elsewhere.

    Example:
        >>> import pocketflex as pf
        >>> try:
        ...     pf.parallel_map(lambda n: 1 / n, [1, 2, 0], executor="serial")
        ... except ZeroDivisionError as error:
        ...     done = pf.partial(error)
        >>> done[0], done[1], done[2].kind
        (Value(result=1.0), Value(result=0.5), 'exception')
    """
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        harvest: Harvest | None = getattr(at, "__dict__", {}).get(_NAME)
        if harvest is not None:
            return dict(sorted(harvest, key=lambda one: one[0]))
        at = at.__cause__ or at.__context__
    return {}


def hand_over(error: BaseException, harvest: Harvest) -> None:
    """Let an exception carry what there is; the last call that it leaves decides."""
    with suppress(Exception):  # the user's class may do anything with its attributes
        BaseException.__setattr__(error, _NAME, harvest)


def note_count(error: BaseException, label: str, done: int, length: int | None, yielded: int = 0) -> None:
    """Say on the exception of an interrupted call how many of its items had finished, and where they are."""
    count = f"{done} items" if length is None else f"{done} of {length} items"
    whose = f"the outcomes of those behind the {yielded} yielded" if yielded else "their outcomes"
    add_note_once(error, f"{label}: {count} had finished; pf.partial(error) has {whose}")


class BatchHarvest:
    """A `partial.Harvest` of what a `Batch` has; it keeps references, and copies nothing."""

    def __init__(
        self,
        assembly: Assembly | None,
        settlement: Settlement,
        waiting: Iterable[Outcomes],
        spans: list[tuple[int, int]] | None,
    ) -> None:
        """Keep what there is.

        Args:
            assembly: The results put together, None where they have been yielded.
            settlement: What they went through.
            waiting: Runs that are in neither.
            spans: First index and length of each run that was taken; None: all in order.
        """
        self._assembly = assembly
        self._settlement = settlement
        self._waiting = tuple(waiting)
        self._spans = [(0, settlement.seen)] if spans is None else spans

    def __reduce__(self) -> tuple[type[tuple[Any, ...]], tuple[()]]:
        return tuple, ()  # an exception that travels to another process does not take the results along

    def __len__(self) -> int:
        taken = self._settlement.seen if self._assembly is not None else 0
        return taken + sum(len(run.results) for run in self._waiting)

    def __iter__(self) -> Iterator[tuple[int, Outcome]]:
        target = None
        if self._assembly is not None:
            target, failed = self._assembly.target, {one.index: one for one in self._settlement.failures}
            indexes = chain.from_iterable(range(start, start + length) for start, length in self._spans)
            is_skipping = self._settlement.on_error == "skip"
            kept = (index for index in indexes if not (is_skipping and index in failed))
            yield from _outcomes(zip(kept, self._assembly.taken(), strict=False), failed)
            yield from ((index, failure) for index, failure in failed.items() if is_skipping)
        for run in self._waiting:
            results = run.results
            if target is not None and type(results) is range:  # they have been placed already
                results = target[results.start : results.stop]
            yield from _outcomes(enumerate(results, run.start), {one.index: one for one in run.failures})


class ListHarvest:
    """A `partial.Harvest` of a list in which some results are missing."""

    def __init__(self, results: list[Any], failures: Iterable[Failure], missing: Iterable[int]) -> None:
        self._results = results
        self._failed = {failure.index: failure for failure in failures}
        self._missing = {index for index in missing if index < len(results)}

    def __reduce__(self) -> tuple[type[tuple[Any, ...]], tuple[()]]:
        return tuple, ()

    def __len__(self) -> int:
        return len(self._results) - len(self._missing)

    def __iter__(self) -> Iterator[tuple[int, Outcome]]:
        there = (one for one in enumerate(self._results) if one[0] not in self._missing)
        return _outcomes(there, self._failed)


def _outcomes(entries: Iterable[tuple[int, Any]], failed: Mapping[int, Failure]) -> Iterator[tuple[int, Outcome]]:
    for index, entry in entries:
        yield index, failed.get(index) or Value(entry)
