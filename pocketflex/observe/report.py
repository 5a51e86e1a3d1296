"""What a run did: one record a batch, for summaries."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class BatchRecord:
    """One batch that ran.

    Attributes:
        label: Names the work, such as ``node Parse``.
        workers: Workers that could take part.
        items: Items with an outcome.
        failures: How many of them failed.
        resumed: How many of them had their result from a journal.
        seconds: Wall time from the first item asked for to the last outcome.
    """

    label: str
    workers: int
    items: int = 0
    failures: int = 0
    resumed: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Report:
    """The batches of a run, in the order in which they began."""

    batches: list[BatchRecord] = field(default_factory=list)

    @property
    def items(self) -> int:
        """Items with an outcome, over all batches."""
        return sum(batch.items for batch in self.batches)

    @property
    def failures(self) -> int:
        """Failed items over all batches."""
        return sum(batch.failures for batch in self.batches)

    @property
    def workers(self) -> int:
        """The most workers that a batch had; 1 when no batch ran."""
        return max((batch.workers for batch in self.batches), default=1)
