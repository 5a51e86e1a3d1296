"""The items of an async batch that has a journal: what is in it is not awaited again.

Reading the journal and digesting a list of items take place in a thread, so that the loop goes on.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..batch import check_items
from ..options import BatchOptions
from ..outcome import Outcome, Value
from ..prepared import Initializer
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
        self._first: Callable[[], None] | None = None  # what is to be called before an item is awaited

    def initialize(self, initializer: Initializer, label: str) -> None:
        """Have this called before the first item that is not in the journal is given away."""
        self._first = partial(initializer.run, label)

    async def take(self, results: list[Any]) -> tuple[int, Any]:
        """The next item and its index; `KNOWN` for one in the journal."""
        index, item = await super().take(results)
        if item is END:
            return index, item
        try:
            return index, self._look_up(index, item, results)
        except BaseException:
            del results[index]  # the last: nothing has been awaited since there is a place for it
            raise

    def _look_up(self, index: int, item: Any, results: list[Any]) -> Any:
        from ..journal.digests import NBYTES, digest_item

        digest = self._digests[index * NBYTES : (index + 1) * NBYTES] if self._digests else digest_item(item)
        if self.section.has(index, digest):
            results[index] = self.section.load(index)
            self.resumed += 1
            return KNOWN
        if self._first is not None:
            first, self._first = self._first, None
            first()
        self._open[index] = digest
        return item

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
