"""The items of an async batch that has a journal: what is in it is not awaited again.

Reading the journal and digesting a list of items take place in a thread, so that the loop goes on.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any

from ..batch import check_items
from ..options import BatchOptions
from ..outcome import Outcome, Value
from .feed import END, Feed
from .tasks import in_thread

if TYPE_CHECKING:
    from ..journal.section import Section
    from ..journal.shelf import Place

KNOWN = object()  # what `ResumedFeed.take` gives for an item whose result is in its place already


async def open_feed(call: Any, items: Any, options: BatchOptions, label: str, place: Place) -> Feed:
    """The items of a batch, with its journal if it has one.

    Raises:
        TypeError: They are not iterable.
        JournalError: The journal cannot be used, or is of other work; nothing has run.
    """
    if options.resume is None:
        return Feed(items, label)
    checked = items if isinstance(items, AsyncIterable) else check_items(items, label)
    section, digests = await in_thread(_open, call, checked, label, options, place)
    return ResumedFeed(checked, label, section, digests)


def _open(call: Any, items: Any, label: str, options: BatchOptions, place: Place) -> Any:
    from ..journal.resumed import find_missing, open_section  # late: nobody else needs it

    section, digests = open_section(call, items, label, options, place)
    if digests is not None:
        find_missing(items, digests, section)  # refuses items that are not those of the journal
    return section, digests


class ResumedFeed(Feed):
    """Items with a journal: for one that is in it `take` gives `KNOWN`, with its result in its place."""

    def __init__(self, items: Any, label: str, section: Section, digests: bytes | None) -> None:
        """Open the items, whose `digests` are there if the items all are."""
        super().__init__(items, label)
        self.section = section
        self._digests = digests
        self._open: dict[int, bytes] = {}  # digests of items under way, by index

    async def take(self, results: list[Any]) -> tuple[int, Any]:
        """The next item and its index; `KNOWN` for one in the journal."""
        from ..journal.digests import NBYTES, digest_item

        index, item = await super().take(results)
        if item is END:
            return index, item
        digest = self._digests[index * NBYTES : (index + 1) * NBYTES] if self._digests else digest_item(item)
        if self.section.has(index, digest):
            results[index] = self.section.load(index)
            self.resumed += 1
            return index, KNOWN
        self._open[index] = digest
        return index, item

    async def keep(self, index: int, outcome: Outcome) -> None:
        """An item has ended: its result goes into the journal."""
        digest = self._open.pop(index)
        if isinstance(outcome, Value):
            self.section.put([(index, digest, outcome.result)])
        if self.section.is_due:
            await in_thread(self.section.sync)

    async def close(self) -> None:
        """End what was not read to its end, and have the journal on the disk."""
        await super().close()
        await in_thread(self.section.sync)
