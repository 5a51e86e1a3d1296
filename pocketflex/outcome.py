"""What became of an item: `Value` or `Failure`, and what a call makes of the failures.

Every item of a batch ends in exactly one outcome, the same in every model and on every executor.
Executors deliver outcomes in runs of neighbouring items (`Outcomes`), because a record per item
would cost more than a tiny item itself. `Settlement` is the only place that applies `on_error`.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["exception", "timeout", "crashed", "unpicklable", "cancelled"]
OnError = Literal["raise", "collect", "skip"]

_log = logging.getLogger("pocketflex")


@dataclass(frozen=True, slots=True)
class Value:
    """The outcome of an item that succeeded."""

    result: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """The outcome of an item that failed.

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


class Settlement:
    """Applies `on_error` to runs of outcomes as they come.

    `raise` raises the first failure that it meets: with runs in input order that is the one with the lowest
    index. `collect` leaves each `Failure` in its place. `skip` leaves failures out and logs how many there
    were; when every item failed, the first failure is raised.

    Not a generator: one could not raise an item's StopIteration.
    """

    def __init__(self, on_error: OnError, label: str) -> None:
        self._on_error = on_error
        self._label = label
        self._seen = 0
        self._skipped: list[Failure] = []

    def take(self, run: Outcomes) -> Any:
        """The results of a run of outcomes; raises what a failed item raised if that is wanted."""
        self._seen += len(run.results)
        if not run.failures:
            return run.results
        if self._on_error == "raise":
            raise annotate(run.failures[0], self._label)
        for failure in run.failures:
            annotate(failure, self._label)
        if self._on_error == "collect":
            return run.results
        self._skipped += run.failures
        failed = {failure.index - run.start for failure in run.failures}
        return [result for position, result in enumerate(run.results) if position not in failed]

    def close(self) -> None:
        """After the last run: say what was skipped; raise if that is everything."""
        if not self._skipped:
            return
        first = min(self._skipped, key=lambda failure: failure.index)
        if len(self._skipped) == self._seen:
            add_note_once(first.error, f"all {self._seen} items failed, so on_error='skip' has nothing to return")
            raise first.error
        _log.warning(
            "%s: %d of %d items failed and were skipped; the first is item %d: %s",
            self._label, len(self._skipped), self._seen, first.index, describe(first.error),
        )  # fmt: skip


def settle(outcomes: Outcomes, on_error: OnError, label: str) -> Any:
    """The results of a whole batch, as `Settlement` says."""
    settlement = Settlement(on_error, label)
    results = settlement.take(outcomes)
    settlement.close()
    return results
