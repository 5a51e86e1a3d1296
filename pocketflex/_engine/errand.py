"""An errand in a worker: one item, handed in with its function through the hatch, run like any other."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

from ..outcome import Failure, Outcome, Value
from ..retry import Call, begin_attempt
from . import failures, native
from .blocks import COLUMNS
from .board import COUNT, INDEX, JOB
from .desk import Desk
from .failures import FailureRecord
from .hatch import Hatch
from .loading import Loader
from .returns import Returns


class ErrandRun:
    """One errand under way."""

    def __init__(self, desk: Desk, hatch: Hatch, loader: Loader) -> None:
        self._desk = desk
        self._words = desk.words
        self._hatch = hatch
        self._loader = loader
        self._pid = os.getpid()
        self._kind = ""  # of the result

    def run(self, errand: int) -> None:
        """Run the item and answer."""
        words, hatch = self._words, self._hatch
        native.store(words, JOB, errand)
        words[COUNT] = 1
        try:
            call = self._loader.load_pickle(hatch.here(), hatch.call())
        except BaseException:  # the parent then makes a job of it, which says what has happened
            hatch.refer(None)
        else:
            words[INDEX] = 0  # before the item is touched: see board.py
            self._answer(self._try(call))
        words[INDEX] = -1
        words[JOB] = -1
        hatch.close(errand)
        self._desk.ring()

    def _try(self, call: Call) -> Outcome:
        begin_attempt(0)
        try:
            item = self._hatch.item()
        except BaseException as error:
            return Failure(0, failures.unreadable(0, error), kind="unpicklable")
        try:
            return Value(call.function(item)) if call.is_plain else call.run(0, item)
        except BaseException as error:
            return Failure(0, error)

    def _answer(self, outcome: Outcome) -> None:
        if os.getpid() != self._pid:
            os._exit(0)  # the item has forked, and this is its child: the parent process answers
        with suppress(Exception):  # items may have closed or replaced it
            sys.stdout.flush()  # what items print must not wait in a buffer that dies with this process
        self._desk.speech.flush()
        if isinstance(outcome, Failure):
            self._send(None, failures.record(outcome.error, outcome.attempts, outcome.kind))
        elif type(outcome.result) not in COLUMNS or not self._hatch.write(outcome.result):
            self._send(outcome.result)

    def _send(self, result: Any, failed: FailureRecord | None = None) -> None:
        """Write the result as a block."""
        transport = self._desk.transport
        returns = Returns(transport.arena, self)
        self._kind = type(result).__name__
        returns.results.append(result)
        if failed is not None:
            returns.failed[0] = failed
        block = next(returns.take())
        transport.arena.lend(block.region)
        transport.introduce(block.region.segment)
        self._hatch.refer(block.region)

    def begin(self, position: int) -> None:
        """The result is about to be pickled: whose item it is has been published."""

    def refuse(self, position: int, error: BaseException) -> FailureRecord:
        """The failure of an item whose result cannot be pickled."""
        return failures.record(failures.unsendable(0, self._kind, error), kind="unpicklable")
