"""What items have said in workers, said again here: printed, given to the loggers, warned of.

    pool's lock held            not held, in any thread that waits for its job or takes its outcomes
    take: pieces in, in order   heed: one entry after the other

Handlers and streams are the user's: they run without the pool's lock, and whoever waits runs those of all
jobs, so that no worker waits for a job whose owner has something else to do. What an item has said is
taken before its outcome is, so who heeds before he collects has heard it all: also what another thread is
in the middle of.
"""

from __future__ import annotations

import logging
import pickle
import sys
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from . import payload
from .member import Member
from .transport import Said
from .voice import Kind


class Work(NamedTuple):
    """What a job or an errand is called by whoever listens.

    Attributes:
        label: Names it.
        index_of: From the number of an item here to its index in the input, where these are not the same.
    """

    label: str
    index_of: Callable[[int], int] = int

    def item(self, number: int) -> int | None:
        """The index of an item; None where nothing was being run, or it is not known any more."""
        try:
            return self.index_of(number) if number >= 0 else None
        except LookupError:
            return None


class Hearing:
    """What has been said and not been heard; `works` has whose it is, by number of job or errand."""

    def __init__(self) -> None:
        self.works: dict[int, Work] = {}
        self._waiting: deque[tuple[Work, bytes]] = deque()
        self._lock = threading.RLock()  # reentrant: a handler may use the pool, and is then refused
        self._is_busy = False
        self._registries: dict[str, dict[Any, Any]] = {}  # by file: of warnings from modules that are not loaded here

    def take(self, member: Member, said: Said) -> None:
        """A piece of what items have said has come, in order."""
        member.heard += 1
        member.pieces.append(said.piece)
        if said.is_last:
            self._waiting.append((self.works.get(said.job, Work("")), b"".join(member.pieces)))
            member.pieces.clear()

    def heed(self) -> bool:
        """Say it here; returns whether there was anything."""
        if not (self._waiting or self._is_busy):  # in this order: who takes the last one is busy before
            return False
        with self._lock:
            self._is_busy = True
            try:
                while self._waiting:
                    work, data = self._waiting.popleft()
                    for kind, number, said in pickle.loads(data):
                        self._repeat(kind, work, number, said)
            finally:
                self._is_busy = False
        return True

    def _repeat(self, kind: int, work: Work, number: int, said: Any) -> None:
        try:
            if kind == Kind.LOG:
                _log(load_record(said, work, number))
            elif kind == Kind.WARNING:
                self._warn(*pickle.loads(said))
            elif stream := sys.stdout if kind == Kind.OUT else sys.stderr:
                stream.write(said)
        except Exception:  # of the user's handler, filter or stream; the item has ended long ago
            if logging.raiseExceptions and sys.stderr:
                traceback.print_exc()

    def _warn(self, pickled: bytes, kind: str, text: str, filename: str, lineno: int, module: str | None) -> None:
        try:
            warning = payload.load(pickled)
        except Exception:
            warning = None
        if not isinstance(warning, Warning):  # its class cannot be loaded here
            warning = UserWarning(f"{kind}: {text}")
        known = sys.modules.get(module or "")
        registry = self._registries.setdefault(filename, {})
        if known is not None and getattr(known, "__file__", None) == filename:
            registry = vars(known).setdefault("__warningregistry__", {})  # a warning here and one there are one
        warnings.warn_explicit(warning, type(warning), filename, lineno, module, cast("dict[Any, int]", registry))


def _log(record: logging.LogRecord) -> None:
    logging.getLogger(record.name).handle(record)


def load_record(data: bytes, work: Work, number: int) -> logging.LogRecord:
    """A record of a worker, as one of this process that says what was being run."""
    state, extras = pickle.loads(data)
    for name in extras:
        pickled, shown = state[name]
        try:
            state[name] = shown if pickled is None else payload.load(pickled)
        except Exception:
            state[name] = shown
    record = logging.makeLogRecord(state)
    record.pocketflex_item = work.item(number)
    record.pocketflex_node = work.label
    return record
