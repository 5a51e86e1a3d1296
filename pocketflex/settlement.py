"""`Settlement`: what a call makes of the failures of its items. The only place that applies `on_error`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from .outcome import Failure, OnError, Outcomes, add_note_once, annotate, describe

_MOST_TOLD = 5  # other failures that an exception has notes of
_MOST_LETTERS = 200  # of each
_log = logging.getLogger("pocketflex")


class Settlement:
    """Applies `on_error` to runs of outcomes as they come.

    `raise` raises the first failure that it meets: with runs in input order that is the one with the lowest
    index. `collect` leaves each `Failure` in its place. `skip` leaves failures out and logs how many there
    were; when every item failed, the first failure is raised.

    Not a generator: one could not raise an item's StopIteration.

    Attributes:
        on_error: What is done with failures.
        failures: Those that it has met.
        seen: Outcomes that it has given back, or left out.
        raised: The failure whose exception it has raised.
    """

    def __init__(self, on_error: OnError, label: str) -> None:
        self.on_error = on_error
        self.failures: list[Failure] = []
        self.seen = 0
        self.raised: Failure | None = None
        self._label = label

    def take(self, run: Outcomes) -> Any:
        """The results of a run of outcomes; raises what a failed item raised if that is wanted."""
        if not run.failures:
            self.seen += len(run.results)
            return run.results
        self.failures += run.failures
        if self.on_error == "raise":
            self.raised = run.failures[0]
            raise annotate(self.raised, self._label)
        for failure in run.failures:
            annotate(failure, self._label)
        self.seen += len(run.results)
        if self.on_error == "collect":
            return run.results
        failed = {failure.index - run.start for failure in run.failures}
        return [result for position, result in enumerate(run.results) if position not in failed]

    def close(self) -> None:
        """After the last run: say what was skipped; raise if that is everything."""
        if not self.failures or self.on_error != "skip":
            return
        first = min(self.failures, key=lambda failure: failure.index)
        if len(self.failures) == self.seen:
            add_note_once(first.error, f"all {self.seen} items failed, so on_error='skip' has nothing to return")
            raise first.error
        _log.warning(
            "%s: %d of %d items failed and were skipped; the first is item %d: %s",
            self._label, len(self.failures), self.seen, first.index, describe(first.error),
        )  # fmt: skip

    def note_others(self, known: Iterable[Failure]) -> None:
        """Have the exception that was raised tell of the other failures, those met and those `known` besides."""
        if self.raised is None:
            return
        others = {failure.index: failure for failure in (*self.failures, *known)}
        del others[self.raised.index]
        listed = [others[index] for index in sorted(others)]
        for failure in listed[:_MOST_TOLD]:
            text = f"also failed: item {failure.index}: {describe(failure.error)}"
            add_note_once(self.raised.error, text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}...")
        if len(listed) > _MOST_TOLD:
            add_note_once(self.raised.error, f"and {len(listed) - _MOST_TOLD} more")


def settle(outcomes: Outcomes, on_error: OnError, label: str) -> Any:
    """The results of a whole batch, as `Settlement` says."""
    settlement = Settlement(on_error, label)
    try:
        results = settlement.take(outcomes)
    finally:
        settlement.note_others(())
    settlement.close()
    return results
