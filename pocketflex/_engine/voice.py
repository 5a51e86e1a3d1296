"""What items say besides their results: it goes to the parent at once, and before the outcome of its item.

    item     print, log, warn                (speech.py)
    Voice    one entry for each, in order
    socket   messages (Said); SAID on the board counts them
    parent   reads as many as SAID says before it takes in an outcome (hearing.py)

A worker that says more than the parent reads waits in the socket, and with it the item: nothing is lost,
and nothing fills memory. What comes in floods is sent in packs, else each entry by itself, so that what was
said before a crash is there.
"""

from __future__ import annotations

import pickle
import threading
from contextlib import suppress
from enum import IntEnum
from time import monotonic, monotonic_ns
from typing import Any

from . import native
from .board import BEGAN, INDEX, JOB, SAID
from .packets import Disconnected
from .transport import Said, Transport

_FLOOD = 64  # entries in a window: of more, each costs more to send than to say
_WINDOW = 0.045  # seconds
_FULL = 1 << 14  # bytes of a pack
_PIECE = 1 << 15  # bytes of a message: a packet has room for twice as many
_STALL = 1_000_000  # ns that sending takes at the most where nobody is waited for


class Kind(IntEnum):
    """What an entry is."""

    OUT = 1  # text for standard output
    ERR = 2  # text for standard error
    LOG = 3  # a logging record
    WARNING = 4


Entry = tuple[int, int, Any]  # kind, index of the item or -1, what was said


class Voice:
    """Says things to the parent; from any thread of the worker."""

    def __init__(self, transport: Transport, words: memoryview) -> None:
        """Use the connection, and the words of the worker's slot."""
        self._transport = transport
        self._words = words
        self._lock = threading.RLock()  # a signal handler, or a destructor, may print in the middle of a print
        self._job = 0
        self._entries: list[Entry] = []
        self._size = 0
        self._window = (0.0, 0)  # when it began, entries in it

    def say(self, kind: Kind, data: Any) -> None:
        """Say text, or the bytes of a record, as something of the item that runs."""
        words = self._words
        with self._lock:
            if self._job != words[JOB]:
                self._send()
                self._job = words[JOB]
            self._entries.append((int(kind), words[INDEX], data))
            self._size += len(data)
            if not self._is_flood() or self._size > _FULL:
                self._send()

    def flush(self) -> None:
        """Send what has been said and not been sent."""
        if self._entries:
            with self._lock:
                self._send()

    def _is_flood(self) -> bool:
        now, (begun, count) = monotonic(), self._window
        self._window = (begun, count + 1) if now - begun < _WINDOW else (now, 1)
        return self._window[1] > _FLOOD

    def _send(self) -> None:
        if not self._entries:
            return
        data, self._entries, self._size = pickle.dumps(self._entries, protocol=5), [], 0
        begun = monotonic_ns()
        with suppress(Disconnected):  # the parent is gone, and this process is about to be
            for at in range(0, len(data), _PIECE):
                self._transport.send(Said(self._job, data[at : at + _PIECE], at + _PIECE >= len(data)))
                native.store(self._words, SAID, self._words[SAID] + 1)
        waited = monotonic_ns() - begun
        if waited > _STALL and self._words[BEGAN]:  # for the parent: that is not the item's time
            self._words[BEGAN] += waited
