"""A worker: receives ranges, runs their items, sends the outcomes back.

The life of a range here:

    1. `RunRange` arrives; its block is read in place, each item is unpickled when its turn comes.
    2. Before an item is touched its index is put on the board: whatever ends this process from then
       on, unpickling, the item itself or pickling its result, is known to be that item's doing.
    3. Outcomes are collected and sent every few milliseconds (`_FLUSH`), so a crash repeats no more
       finished work than that, and a slow item's result does not wait for its neighbours.
    4. After `budget` seconds the items that have not begun are handed back, for a worker that is idle.

One thread, no lock, no signal handler: a worker can be killed at any moment and owes nobody.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic, monotonic_ns
from typing import Any

from ..errors import PayloadError
from ..outcome import Failure, Kind, Outcome, Outcomes, Value, describe
from ..retry import Call, begin_attempt
from . import failures
from .blocks import Block, encode_results
from .board import BEGAN, CANCELLED, INDEX, RANGE
from .failures import FailureRecord
from .loading import load_call
from .packets import Disconnected
from .reading import ItemReader
from .transport import Drop, Load, LoadFailed, Results, RunRange, Transport

_FLUSH = 0.045  # seconds; sending costs up to 0.5 ms, and a range that lasts as planned sends once, at its end
_LOOK = 0.0005  # seconds between two looks at the clock, which costs more than a tiny item ...
_MOST_UNWATCHED = 64  # ... but never more items than this, as they may turn out dearer than the last ones

_is_worker = False


def is_worker() -> bool:
    """Whether this process is a worker, where the engine runs its items serially."""
    return _is_worker


class Worker:
    """The main loop of a worker process."""

    def __init__(self, transport: Transport, slot: memoryview) -> None:
        self._transport = transport
        self._slot = slot
        self._calls: dict[int, tuple[Call, float | None]] = {}  # job -> callable, timeout of an item
        self._held: list[tuple[RunRange, ItemReader]] = []  # blocks that the user's code still refers to

    def serve(self) -> None:
        """Do what the parent says until it closes its end."""
        global _is_worker
        _is_worker = True
        while True:
            try:
                self._obey(self._transport.receive())
            except Disconnected:
                return

    def _obey(self, message: object) -> None:
        if isinstance(message, RunRange):
            self._run(message)
        elif isinstance(message, Load):
            self._load(message)
        elif isinstance(message, Drop):
            self._calls.pop(message.job, None)

    def _load(self, message: Load) -> None:
        try:
            self._calls[message.job] = (load_call(self._transport, message), message.timeout)
        except BaseException as error:
            self._transport.send(LoadFailed(message.job, failures.dump_error(error)))

    def _run(self, message: RunRange) -> None:
        self._slot[RANGE] = message.range
        reader = ItemReader(message.block, self._transport.memory(message.block.region))
        self._held.append((message, reader))
        call, timeout = self._calls.get(message.job, (None, None))
        run = RangeRun(self._transport, self._slot, message, timeout)
        if call is not None:  # else its loading has failed, and the parent has been told
            run.run(call, reader)
        del reader
        run.flush(is_last=True, before=self._release)
        self._slot[RANGE] = -1

    def _release(self) -> None:
        still = [(message, reader) for message, reader in self._held if reader.is_held()]
        for message, reader in self._held:
            if not reader.is_held():
                self._transport.release(message.block.region)
        self._held = still


class RangeRun:
    """One range under way."""

    def __init__(self, transport: Transport, slot: memoryview, message: RunRange, timeout: float | None) -> None:
        self._transport = transport
        self._slot = slot
        self._message = message
        self._timeout = timeout
        self._begun = monotonic()
        self._results: list[Any] = []
        self._failed: dict[int, FailureRecord] = {}
        self._pid = os.getpid()
        self._sent = message.start  # index of the first item whose outcome has not been sent

    def run(self, call: Call, reader: ItemReader) -> None:
        """Run the items; what is left to be sent is for `flush`."""
        begin_attempt(0)
        if call.chunk is None:
            self._run_items(call, reader.iterate())
        else:
            self._run_chunk(call, reader)
        with suppress(Exception):  # items may have closed or replaced it
            sys.stdout.flush()  # what items print must not wait in a buffer that dies with this process

    def flush(self, *, is_last: bool, before: Callable[[], None] = lambda: None) -> None:
        """Send the outcomes so far; `before` is called when they are written and not yet sent."""
        if os.getpid() != self._pid:
            os._exit(0)  # an item has forked, and this is its child: the parent process goes on with the range
        block, count = (self._write(), len(self._results)) if self._results else (None, 0)
        self._results.clear()
        self._failed.clear()
        before()
        message, seconds = self._message, monotonic() - self._begun
        self._slot[INDEX] = -1 if is_last else self._slot[INDEX]
        self._transport.send(Results(message.job, message.range, self._sent, block, is_last, seconds))
        self._sent += count

    def _run_items(self, call: Call, items: Iterator[Any]) -> None:
        index, stop = self._message.start, self._message.start + self._message.block.length
        flush_at, hand_back_at = self._begun + _FLUSH, self._begun + (self._message.budget or float("inf"))
        looked, stride = self._begun, 1
        while index < stop:
            self._run_some(call, items, range(index, min(index + stride, stop)))
            index += stride
            now = monotonic()
            if now >= flush_at:
                self.flush(is_last=False)
                flush_at = monotonic() + _FLUSH
            if now >= hand_back_at or self._slot[CANCELLED] == self._message.job:
                return
            stride = min(2 * stride, _MOST_UNWATCHED) if now - looked < _LOOK else max(1, stride // 2)
            looked = now

    def _run_some(self, call: Call, items: Iterator[Any], indices: range) -> None:
        """Run a few items. This loop is what a tiny item costs, so there is nothing in it that can be outside."""
        slot, results, timeout = self._slot, self._results, self._timeout
        plain = call.function if call.is_plain and timeout is None else None
        for index in indices:
            if timeout is not None:
                slot[BEGAN] = monotonic_ns()  # before the index: see board.py
            slot[INDEX] = index
            try:
                item = next(items)
            except BaseException as error:
                self._fail(_unreadable(index, error), 1, "unpicklable")
                continue
            try:
                if plain is not None:
                    results.append(plain(item))
                else:
                    self._keep(call.run(index, item, timeout))
            except BaseException as error:
                self._fail(error)

    def _run_chunk(self, call: Call, reader: ItemReader) -> None:
        start = self._message.start
        if self._timeout is not None:
            self._slot[BEGAN] = monotonic_ns()
        self._slot[INDEX] = start
        try:
            outcomes = call.run_chunk(start, reader.sequence(), self._timeout)
        except BaseException as error:
            outcomes = Outcomes.gather(start, [Failure(start + at, error) for at in range(self._message.block.length)])
        failures = {failure.index: failure for failure in outcomes.failures}
        for index, result in enumerate(outcomes.results, start):
            self._keep(failures.get(index) or Value(result))

    def _keep(self, outcome: Outcome) -> None:
        if isinstance(outcome, Value):
            self._results.append(outcome.result)
        else:
            self._fail(outcome.error, outcome.attempts, outcome.kind)

    def _fail(self, error: BaseException, attempts: int = 1, kind: Kind = "exception") -> None:
        self._failed[len(self._results)] = FailureRecord(failures.dump_error(error), attempts, kind)
        self._results.append(None)

    def _write(self) -> Block:
        try:
            return self._transport.write(encode_results(self._results, self._failed, self))
        except OSError as error:  # no memory for these results: the items fail, the worker goes on
            count = len(self._results)
            failed = dict.fromkeys(range(count), FailureRecord(failures.dump_error(error), 1, "exception"))
            return self._transport.write(encode_results([None] * count, failed, self))

    def begin(self, position: int) -> None:
        """Publish whose result is about to be pickled."""
        self._slot[INDEX] = self._sent + position

    def refuse(self, position: int, error: BaseException) -> FailureRecord:
        """The failure of an item whose result cannot be pickled."""
        index, kind = self._sent + position, type(self._results[position]).__name__
        refused = PayloadError(f"the result of item {index} ({kind}) cannot be sent from its worker: {describe(error)}")
        refused.__cause__ = error
        return FailureRecord(failures.dump_error(refused), 1, "unpicklable")


def _unreadable(index: int, error: BaseException) -> PayloadError:
    failed = PayloadError(f"item {index} cannot be unpickled in the worker: {describe(error)}")
    failed.__cause__ = error
    return failed
