"""What became of an item: `Value` or `Failure`.

Every item of a batch ends in exactly one outcome, the same in every model and on every executor.
Executors deliver outcomes in runs of neighbouring items (`Outcomes`), because a record per item
would cost more than a tiny item itself. What a call makes of the failures is said in settlement.py.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol

Kind = Literal["exception", "timeout", "crashed", "unpicklable", "cancelled"]
OnError = Literal["raise", "collect", "skip"]


@dataclass(frozen=True, slots=True)
class Value:
    """The outcome of an item that succeeded."""

    result: Any


class Replayable(Protocol):
    """What is done with an item, and can be done once more."""

    def item_of(self, one: Any, number: int, /) -> Any:
        """The one item of a list or of rows of an ndarray, of that number."""

    def replay(self, one: Any, number: int, /) -> Any:
        """Do it, once, with the one item of a list or of rows of an ndarray, of that number; nothing is caught."""


class Origin(NamedTuple):
    """Where a failure comes from.

    Attributes:
        call: What was called.
        one: With which item: the only one of a list, or of an ndarray.
        number: The item's index where it was called, which numbered its items itself.
    """

    call: Replayable
    one: Any
    number: int


class _Traced:
    """What a failure has besides its fields, so that nobody compares, shows or pickles it."""

    __slots__ = ("_origin",)

    _origin: Origin


@dataclass(frozen=True, slots=True)
class Failure(_Traced):
    """The outcome of an item that failed.

    It keeps its item as long as it lives, for `item` and `replay`; a copy that was pickled does not.

    Attributes:
        index: Position of the item in the input, from 0.
        error: The exception; the user's own object where an item raised one.
        attempts: How often the item was tried.
        kind: What happened: the item raised (`exception`), ran too long (`timeout`), ended its
            worker (`crashed`), could not be carried between processes (`unpicklable`), or was
            stopped before it ended (`cancelled`).
    """

    index: int
    error: BaseException
    attempts: int = 1
    kind: Kind = "exception"

    @property
    def item(self) -> Any:
        """The item itself; LookupError if it is no longer there, as in a failure that was pickled."""
        origin = self._traced()
        return origin.call.item_of(origin.one, origin.number)

    def replay(self) -> Any:
        """Run the item once more, in this process and thread: for a debugger, or with more logging.

        One bare call: no retry, no fallback, no `timeout`, nothing caught. Beware of an item that crashed: what
        ended its worker then ends this process, and one that took too long takes as long here.

        Returns:
            What the function returns this time; of an async node an awaitable: ``await failure.replay()``.

        Raises:
            LookupError: The item is no longer there, as in a failure that was pickled.
            Exception: What the function raises this time, with a traceback that leads through its frames.

        Example:
            >>> import pocketflex as pf
            >>> [failure] = pf.parallel_map(int, ["x"], on_error="collect")
            >>> failure.replay()  # or: import pdb; pdb.runcall(failure.replay)
            Traceback (most recent call last):
            ...
            ValueError: invalid literal for int() with base 10: 'x'
        """
        origin = self._traced()
        return origin.call.replay(origin.one, origin.number)

    def _traced(self) -> Origin:
        origin: Origin | None = getattr(self, "_origin", None)
        if origin is None:
            raise LookupError(
                f"item {self.index} is not there any more: a failure has its item only in the process, and the call, "
                "that it came from, not once it was pickled or made by hand; run the function with the item yourself"
            )
        return origin


def trace(failure: Failure, call: Replayable, one: Any) -> None:
    """Let a failure know where it comes from; to its readers it is frozen."""
    object.__setattr__(failure, "_origin", Origin(call, one, failure.index))


def renumber(failure: Failure, index: int) -> Failure:
    """The same failure as that of another index."""
    moved = replace(failure, index=index)
    if (origin := getattr(failure, "_origin", None)) is not None:
        object.__setattr__(moved, "_origin", origin)
    return moved


Outcome = Value | Failure


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The outcomes of neighbouring items.

    Attributes:
        start: Index of the first item.
        results: One entry an item: its result, or its `Failure`. Where the job allows it and none has
            failed, an ndarray with a row for each item; or the range of their indexes, where they have been
            put into the job's target.
        failures: The failures among them, lowest index first. A result that merely is a `Failure`
            object, because the user's function returned one, is not listed here.
    """

    start: int
    results: Any
    failures: tuple[Failure, ...] = ()

    @classmethod
    def gather(cls, start: int, outcomes: Iterable[Outcome]) -> Outcomes:
        """Join single outcomes of neighbouring items into one record."""
        listed = list(outcomes)
        results = [o.result if isinstance(o, Value) else o for o in listed]
        return cls(start, results, tuple(o for o in listed if isinstance(o, Failure)))


class RemoteTraceback(Exception):
    """The traceback of an exception as the worker saw it; the `__cause__` of what arrives."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


def render_traceback(error: BaseException) -> str:
    """The traceback of `error` as text, as Python would print it; its type where that cannot be had."""
    try:
        return "".join(traceback.format_exception(error)).rstrip()
    except KeyboardInterrupt:
        raise
    except BaseException as failure:  # from what the user's class does to its attributes
        return f"{type(error).__name__} (whose traceback raises {type(failure).__name__})"


def describe(error: BaseException) -> str:
    """An exception as ``Type: message``, also where its message cannot be had."""
    try:
        return f"{type(error).__name__}: {error}"
    except KeyboardInterrupt:
        raise
    except BaseException as failure:
        return f"{type(error).__name__} (whose message raises {type(failure).__name__})"


def annotate(failure: Failure, label: str) -> BaseException:
    """Add a note to a failure's exception that names the work, the item and the attempt."""
    add_note_once(failure.error, f"{label}, item {failure.index}, attempt {failure.attempts}")
    return failure.error


def add_note_once(error: BaseException, note: str) -> None:
    """Add `note` to an exception unless it is there, as when one exception object is raised again."""
    try:
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
    except KeyboardInterrupt:
        raise
    except BaseException:  # the user's own `__notes__` may not be a list, or raise anything
        return


def noted(outcome: Outcome, note: str) -> Outcome:
    """`outcome`; if it is a failure, its exception gets `note`."""
    if isinstance(outcome, Failure):
        add_note_once(outcome.error, note)
    return outcome
