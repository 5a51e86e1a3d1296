"""What became of an item: `Value` or `Failure`, and what a call makes of the failures.

Every item of a batch ends in exactly one outcome, the same in every model and on every executor.
Executors deliver outcomes in runs of neighbouring items (`Outcomes`), because a record per item
would cost more than a tiny item itself. `settle` is the only place that applies `on_error`.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, Iterator
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
        results: One entry an item: its result, or its `Failure`.
        failures: The failures among them, lowest index first. A result that merely is a `Failure`
            object, because the user's function returned one, is not listed here.
    """

    start: int
    results: list[Any]
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
    """The traceback of `error` as text, as Python would print it."""
    return "".join(traceback.format_exception(error)).rstrip()


def annotate(failure: Failure, label: str) -> BaseException:
    """Add a note to a failure's exception that names the work, the item and the attempt."""
    note = f"{label}, item {failure.index}, attempt {failure.attempts}"
    if note not in getattr(failure.error, "__notes__", ()):
        failure.error.add_note(note)
    return failure.error


def settle(runs: Iterable[Outcomes], on_error: OnError, label: str) -> Iterator[list[Any]]:
    """Apply `on_error` to runs of outcomes and yield their results.

    `raise` raises the first failure that it meets: with runs in input order that is the one with
    the lowest index. `collect` leaves each `Failure` in its place. `skip` leaves failures out and
    logs how many there were; when every item failed, the first failure is raised.
    """
    seen = 0
    failed: list[Failure] = []
    for run in runs:
        if not run.failures:
            yield run.results
        elif on_error == "raise":
            raise annotate(run.failures[0], label)
        else:
            for failure in run.failures:
                annotate(failure, label)
            failed += run.failures if on_error == "skip" else ()
            yield _without(run) if on_error == "skip" else run.results
        seen += len(run.results)
    if failed:
        _report_skipped(failed, seen, label)


def _without(run: Outcomes) -> list[Any]:
    failed = {failure.index - run.start for failure in run.failures}
    return [result for position, result in enumerate(run.results) if position not in failed]


def _report_skipped(failed: list[Failure], seen: int, label: str) -> None:
    first = min(failed, key=lambda failure: failure.index)
    if len(failed) == seen:
        first.error.add_note(f"all {seen} items failed, so on_error='skip' has nothing to return")
        raise first.error
    _log.warning(
        "%s: %d of %d items failed and were skipped; the first is item %d: %s: %s",
        label, len(failed), seen, first.index, type(first.error).__name__, first.error,
    )  # fmt: skip
