"""A batch of async items: a bounded number of runners on one feed, outcomes by index.

    feed ──> runner 1 ─┐
         ──> runner 2 ─┼──> results[index], failures
         ──> runner n ─┘

A runner is a task that takes the next item, awaits it, and goes on: there are `max_concurrency` tasks at
the most, however many items there are. Items that never suspend would keep the loop to themselves, so
all runners share a `Pace`: once 5 ms are used up, each of them lets the loop turn.

When an item fails under ``on_error="raise"`` nothing more is taken from the feed; items with a lower index
run to their end, as one of them may fail as well and its failure is the one to raise; those with a higher
index are cancelled. No task outlives the batch, whichever way it ends.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterator
from contextvars import copy_context
from dataclasses import dataclass
from time import perf_counter
from typing import Any, cast

from .._engine import native
from ..errors import ItemTimeoutError
from ..harvest import ListHarvest, hand_over
from ..options import BatchOptions
from ..outcome import Failure, Outcome, Value, trace
from ..retry import begin_attempt, current_attempt
from ..walk import AsyncCall
from .feed import END, NOWHERE, Feed, Pace, Tally
from .resumed import KNOWN
from .tasks import attempt_item, end_all, go_on, is_coroutine_function

_MOST_UNSEEN = 16  # items between two looks at the clock ...
_QUICK = 0.0001  # ... where those before took less than so many seconds: one that suspends is looked at each time


@dataclass(slots=True, eq=False)
class Runner:
    """A task and the index of the item that it awaits."""

    index: int = NOWHERE
    task: asyncio.Task[None] | None = None


class AsyncBatch:
    """The items of one batch under way; `run` it once, then read `results` and `failures`."""

    def __init__(self, call: AsyncCall, feed: Feed, options: BatchOptions, tally: Tally) -> None:
        self._call = call
        self._feed = feed
        self._options = options
        self._tally = tally
        self._runners: list[Runner] = []
        self._tasks: list[asyncio.Task[None]] = []  # of the runners
        self._most = 0  # runners
        self._context = copy_context()  # of the caller, and not of an item that has changed its own
        self.pace = Pace()
        self.results: list[Any] = []
        self.failures: list[Failure] = []
        self._unwanted: list[int] = []  # items that failed when they were not wanted any more

    def harvest(self) -> ListHarvest:
        """What has finished."""
        unfinished = [runner.index for runner in self._runners if runner.index != NOWHERE]
        return ListHarvest(self.results, self.failures, [*unfinished, *self._unwanted])

    async def run(self, concurrency: int) -> None:
        """Run all items; returns or raises once no runner is left."""
        self._most = concurrency
        self._hire(1 if self._is_bare and is_coroutine_function(self._call.function) else concurrency)
        await end_all(self._tasks, lambda: self._stop(-1))
        if not self.pace.is_stopped and any(task.cancelled() for task in self._tasks):
            raise asyncio.CancelledError  # someone cancelled a runner itself: items may be missing
        self._tally.show(len(self.results))

    @property
    def _is_bare(self) -> bool:
        """Whether an item is one bare call."""
        is_quiet = self._options.timeout is None and self._options.resume is None
        return is_quiet and self._call.is_plain and self._feed.iterator is not None

    def _hire_soon(self) -> None:
        """Two runners for each that waits: with an eager task factory they must not begin within this one's step."""
        asyncio.get_running_loop().call_soon(self._hire, 2, context=self._context)

    def _hire(self, count: int) -> None:
        for _ in range(0 if self.pace.is_stopped else min(count, self._most - len(self._runners))):
            self._runners.append(runner := Runner())
            runner.task = asyncio.create_task(self._serve(runner))
            self._tasks.append(runner.task)

    async def _serve(self, me: Runner) -> None:
        begin_attempt(0)
        try:
            if self._is_bare:
                await self._serve_bare(me, cast(Iterator[Any], self._feed.iterator))
            else:
                await self._serve_tried(me)
            me.index = NOWHERE
        except KeyboardInterrupt as error:  # an item's own, which ends the loop at once
            hand_over(error, self.harvest())
            raise
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # an item's exception ends in _raised, so this is one of the feed
            self.pace.feed_error = error
            self.pace.stop(len(self.results))

    async def _serve_bare(self, me: Runner, feed: Iterator[Any]) -> None:
        if not is_coroutine_function(self._call.function):
            await self._walk(me, feed)
            return
        while await self._rush(me, feed) and await self._walk(me, feed, may_rush=True):
            pass

    async def _rush(self, me: Runner, feed: Iterator[Any]) -> bool:
        """Run items in the native loop; True after the first that suspends, False if there is nothing more to do."""
        pace, state = self.pace, array("q", (0,))
        while True:
            try:
                ended = native.await_each(self._call.function, feed, self.results, int(pace.deadline * 1e9), state)
                if isinstance(ended, tuple):
                    me.index = state[0]
                    self._hire_soon()  # this one waits, others need not
                    self.results[me.index] = await go_on(*ended)
            except BaseException as error:
                if state[0] < 0:  # of the feed
                    raise
                me.index, ended = state[0], True
                self._raised(me, error, self.results[me.index])  # where the item has been
            if not ended or (perf_counter() > pace.deadline and not await self._may_go_on(me)):
                return False
            if ended is not True:
                return True

    async def _walk(self, me: Runner, feed: Iterator[Any], *, may_rush: bool = False) -> bool:
        """Await item after item. This loop is what a short item costs, so there is no layer in it.

        Returns:
            True once items have proved quick, if `may_rush`; False if there is nothing more to do.
        """
        function, results, pace = self._call.function, self.results, self.pace
        left = stride = 1  # items until the next look at the clock, which costs half of what a tiny item does
        looked = perf_counter()
        for item in feed:
            me.index = index = len(results)
            results.append(None)
            try:
                results[index] = await function(item)
            except BaseException as error:
                self._raised(me, error, item)
            left -= 1
            if left and not pace.is_stopped:
                continue
            now = perf_counter()
            if now > pace.deadline and not await self._may_go_on(me):
                return False
            is_quick = now - looked < _QUICK
            if may_rush and is_quick and stride == _MOST_UNSEEN:
                return True
            left = stride = min(2 * stride, _MOST_UNSEEN) if is_quick else 1
            looked = now
        return False

    async def _serve_tried(self, me: Runner) -> None:
        while await self._may_go_on(me):
            index, item = await self._feed.take(self.results)
            if item is END:
                return
            if item is KNOWN:
                continue
            if self.pace.is_stopped:
                self._unwanted.append(index)
                return
            me.index = index
            try:
                outcome = await self._try(index, item)
            except BaseException as error:
                self._raised(me, error, item)
            else:
                self._ended(me, outcome, item)
                await self._feed.keep(index, outcome)

    async def _try(self, index: int, item: Any) -> Outcome:
        timeout = self._options.timeout
        if timeout is None:
            return await attempt_item(self._call, index, item)
        outcome: Outcome = Value(None)
        limit = asyncio.timeout(timeout)

        async def pause(seconds: float) -> None:  # which is no item's time
            limit.reschedule((limit.when() or 0.0) + seconds)
            await asyncio.sleep(seconds)

        try:
            async with limit:
                outcome = await attempt_item(self._call, index, item, pause)
        except TimeoutError as error:
            if not limit.expired():
                return Failure(index, error)
        if limit.expired():  # also if the item swallowed its cancellation and returned late
            text = f"item {index} took longer than timeout={timeout:g} s"
            return Failure(index, ItemTimeoutError(text), current_attempt() + 1, "timeout")
        return outcome

    async def _may_go_on(self, me: Runner) -> bool:
        me.index = NOWHERE
        self._tally.show(len(self.results) - len(self._runners))  # at the most so many are not done
        return await self.pace.may_go_on()

    def _ended(self, me: Runner, outcome: Outcome, item: Any) -> None:
        if isinstance(outcome, Value):
            self.results[me.index] = outcome.result
        elif me.index > self.pace.last:
            self._unwanted.append(me.index)
        else:
            trace(outcome, self._call, [item])
            self.results[me.index] = outcome
            self.failures.append(outcome)
            if self._options.on_error == "raise":
                self._stop(me.index)

    def _raised(self, me: Runner, error: BaseException, item: Any) -> None:
        is_cancelled = isinstance(error, asyncio.CancelledError)
        if isinstance(error, KeyboardInterrupt) or (is_cancelled and me.index > self.pace.last):
            raise error
        if is_cancelled and me.task is not None:
            while me.task.cancelling():  # the item cancelled its own task: that is the item's failure alone
                me.task.uncancel()
        self._ended(me, Failure(me.index, error, kind="cancelled" if is_cancelled else "exception"), item)

    def _stop(self, last: int) -> None:
        """Take nothing more, and cancel what runs beyond the index `last`."""
        self.pace.stop(last)
        for runner in self._runners:
            if runner.index > last and runner.task is not None and runner.task is not asyncio.current_task():
                runner.task.cancel()
