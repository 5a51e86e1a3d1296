"""A job's input, read as it is needed and readable again where an item must be sent once more."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from time import monotonic
from typing import Any, NamedTuple

from .arrays import has_plain_rows, is_array
from .ranges import Span

_PATIENCE = 0.005  # seconds: a slow input is handed on as it comes, not held until a range is full


class Taken(NamedTuple):
    """Some items: those from `start` up to `stop` of a list, or of an ndarray of rows."""

    items: Any
    start: int
    stop: int

    def sliced(self) -> Any:
        """Only these items, a list or an ndarray of rows."""
        return self.items[self.start : self.stop]


class Source:
    """Items by index.

    A list, tuple, range or ndarray is sliced. Everything else is iterated over once, and its items
    are kept until they have an outcome. An exception that iterating raises ends the input there; it
    is kept in `error`, for the owner to raise once the items before it are delivered.
    """

    def __init__(self, items: Iterable[Any]) -> None:
        self.error: Exception | None = None
        self.is_exhausted = False
        given: Any = items
        self._sequence = given if type(items) in (list, tuple, range) or is_array(items) else None
        self._length = 0 if self._sequence is None else len(self._sequence)  # what is added later is no item
        self._iterator = iter(()) if self._sequence is not None else iter(items)
        self._kept: list[_Kept] = []

    @property
    def length(self) -> int | None:
        """Number of items, None if only the end will tell."""
        return None if self._sequence is None else self._length

    @property
    def is_lasting(self) -> bool:
        """Whether items stay where they are until all have outcomes: they were there before the call."""
        return self._sequence is not None and type(self._sequence) is not range

    def take(self, span: Span) -> Taken:
        """The items of a span; fewer at the end, or where the input is slow.

        At the end `is_exhausted` is set. Items that were never taken are to be asked for in order.

        Raises:
            RuntimeError: A list is shorter than it was.
        """
        if self._sequence is None:
            items = self._take_kept(span)
            return Taken(items, 0, len(items))
        if len(self._sequence) < self._length:
            raise RuntimeError(
                f"the list of items had {self._length} items when the call began and has {len(self._sequence)} now: "
                "give the call a copy of a list that is changed meanwhile"
            )
        self.is_exhausted = self.is_exhausted or span.stop > self._length
        if type(self._sequence) is list:
            stop = min(span.stop, self._length)
            return Taken(self._sequence, span.start, max(stop, span.start))
        part = self._sequence[span.start : min(span.stop, self._length)]
        return Taken(part if is_array(part) and has_plain_rows(part) else list(part), 0, len(part))

    def recall(self, index: int) -> Any:
        """An item that was taken and has no outcome yet, alone in a list or an ndarray; None if it is not there."""
        if self._sequence is None:
            kept = next((kept for kept in self._kept if kept.start <= index < kept.start + len(kept.items)), None)
            return None if kept is None else [kept.items[index - kept.start]]
        if len(self._sequence) <= index:  # the list has been shortened
            return None
        return self.take(Span(index, index + 1)).sliced()

    def _take_kept(self, span: Span) -> list[Any]:
        for kept in self._kept:
            if kept.start <= span.start < kept.start + len(kept.items):
                return kept.items[span.start - kept.start : span.stop - kept.start]
        if self.is_exhausted:
            return []
        fresh = self._pull(span.stop - span.start)
        if fresh:
            self._kept.append(_Kept(span.start, fresh))
        return fresh

    def drop(self, start: int, count: int) -> None:
        """So many items from `start` on have outcomes and need not be kept."""
        for kept in self._kept:
            if kept.start <= start < kept.start + len(kept.items):
                kept.open -= count
        self._kept = [kept for kept in self._kept if kept.open]

    def _pull(self, count: int) -> list[Any]:
        pulled: list[Any] = []
        until, step = monotonic() + _PATIENCE, 1
        try:
            while len(pulled) < count and monotonic() < until:
                step, before = min(step, count - len(pulled)), len(pulled)
                pulled.extend(islice(self._iterator, step))  # keeps what came before an exception
                if len(pulled) - before < step:
                    self.is_exhausted = True
                    break
                step *= 2
        except Exception as error:
            self.error = error
            self.is_exhausted = True
        return pulled


class _Kept:
    def __init__(self, start: int, items: list[Any]) -> None:
        self.start = start
        self.items = items
        self.open = len(items)  # items without an outcome
