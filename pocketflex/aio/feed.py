"""What the runners of one batch share: the items, their pace, the progress bar."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from time import perf_counter
from typing import Any, cast

from ..batch import check_items
from ..observe.progress import Bar
from ..outcome import Outcome
from ..prepared import Initializer

END = object()  # what `Feed.take` gives after the last item
NOWHERE = sys.maxsize  # beyond the index of any item
_TURN = 0.005  # seconds between two turns of the loop: short for who waits for it, long beside a tiny item


class Feed:
    """The items of a batch, sync or async, for several runners."""

    resumed = 0  # items whose results have come from a journal

    def __init__(self, items: Any, label: str) -> None:
        """Open the items.

        Raises:
            TypeError: They are not iterable; the message has `label`.
        """
        self._stream: AsyncIterator[Any] | None = aiter(items) if isinstance(items, AsyncIterable) else None
        self.iterator: Iterator[Any] | None = None if self._stream else iter(check_items(items, label))
        self._lock = asyncio.Lock()  # an async generator refuses a second `anext` before the first has ended

    def initialize(self, initializer: Initializer, label: str) -> None:
        """Have this called before the first item that is to be awaited is given away; see `Initializer.before`."""
        if self.iterator is not None:
            self.iterator = initializer.before(self.iterator, label)
        elif self._stream is not None:
            self._stream = _initialized(initializer, self._stream, label)

    async def take(self, results: list[Any]) -> tuple[int, Any]:
        """The next item and its index, for which a place in `results` is made; `END` after the last."""
        async with self._lock:
            item = await anext(self._stream, END) if self._stream else next(cast(Any, self.iterator), END)
            if item is not END:
                results.append(None)
            return len(results) - 1, item

    async def keep(self, index: int, outcome: Outcome) -> None:
        """An item has ended; nobody keeps its outcome here but the batch."""

    async def close(self) -> None:
        """End an async generator that was not read to its end."""
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()


async def _initialized(initializer: Initializer, stream: AsyncIterator[Any], label: str) -> AsyncGenerator[Any, None]:
    """`Initializer.before` of a stream; it ends the stream with itself."""
    is_first = True
    try:
        async for item in stream:
            if is_first:
                initializer.run(label)
            is_first = False
            yield item
    finally:
        if (close := getattr(stream, "aclose", None)) is not None:
            await close()


class Tally:
    """Keeps a progress bar at the number of items done."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._shown = 0

    def show(self, done: int) -> None:
        """Bring the bar forward to `done` items."""
        if done > self._shown:
            self._bar.update(done - self._shown)
            self._shown = done


class Pace:
    """When runners pause, and after which item they stop; shared by all of a batch."""

    def __init__(self) -> None:
        self.deadline = perf_counter() + _TURN  # in the past once the batch stops: runners look at nothing else
        self.last = NOWHERE  # items beyond this index are not wanted any more
        self.is_stopped = False  # whether nothing more may be taken from the feed
        self.feed_error: BaseException | None = None
        self._is_opening = False

    def stop(self, last: int) -> None:
        """Take nothing more from the feed; only items up to `last` are still wanted."""
        self.last = min(self.last, last)
        self.is_stopped = True
        self.deadline = 0.0

    async def may_go_on(self) -> bool:
        """Let the loop turn until there is time again; False once the batch has stopped."""
        while not self.is_stopped and perf_counter() > self.deadline:
            if not self._is_opening:
                self._is_opening = True
                asyncio.get_running_loop().call_soon(self._open)
            await asyncio.sleep(0)
        return not self.is_stopped

    def _open(self) -> None:
        self._is_opening = False
        if not self.is_stopped:
            self.deadline = perf_counter() + _TURN
