"""A batch of async items from its feed to its results: journal, progress, `on_error`. runners.py runs the items."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from ..assembly import Assembly
from ..batch import known_length
from ..harvest import hand_over, note_count
from ..observe.progress import open_bar
from ..observe.report import BatchRecord
from ..options import BatchOptions
from ..outcome import OnError, Outcomes
from ..prepared import Initializer
from ..settlement import settle
from ..walk import AsyncCall
from .feed import Tally
from .resumed import open_feed
from .runners import AsyncBatch

if TYPE_CHECKING:
    from ..journal.shelf import Place


async def run_items(call: AsyncCall, items: Any, options: BatchOptions, record: BatchRecord, place: Place) -> Any:
    """Await `call` for each of `items` and return the results as `on_error` and `output` say.

    Args:
        call: What is done with each item.
        items: An iterable or an async iterable. It is read on the event loop, as fast as it is needed.
        options: `max_concurrency`, `on_error`, `timeout`, `progress`, `resume` and `initializer` apply.
        record: Names the work in messages, and is filled in.
        place: Has the journals of the call.
    """
    length, begun = known_length(items), perf_counter()
    feed = await open_feed(call, items, options, record.label, place)
    if options.initializer is not None:
        feed.initialize(Initializer(options.initializer, options.initargs), record.label)
    bar = open_bar(options.progress, record.label, length)
    batch = AsyncBatch(call, feed, options, Tally(bar))
    try:
        try:
            await batch.run(options.max_concurrency if length is None else min(options.max_concurrency, length))
        finally:
            record.seconds = perf_counter() - begun
            record.items, record.failures, record.resumed = len(batch.results), len(batch.failures), feed.resumed
            bar.close()
            await feed.close()
        failures = tuple(sorted(batch.failures, key=lambda failure: failure.index))
        if batch.pace.feed_error is not None and not (failures and options.on_error == "raise"):
            raise batch.pace.feed_error
        assembly = Assembly(options, record.label)
        assembly.add(settle(Outcomes(0, batch.results, failures), cast(OnError, options.on_error), record.label))
        return assembly.finish()
    except BaseException as error:
        harvest = batch.harvest()
        hand_over(error, harvest)
        if isinstance(error, KeyboardInterrupt | asyncio.CancelledError):
            note_count(error, record.label, len(harvest), length)
        raise
