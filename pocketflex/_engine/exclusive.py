"""A lock whose holder is told, instead of waiting for itself, when it comes again; a shield from signal handlers."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself makes enums, for 3 us a call
import sys
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

_SIGINT = int(_signal.SIGINT)
# besides SIGINT, those whose handlers are known to raise; more are not touched, as to replace a handler undoes what
# `faulthandler.register` and `signal.siginterrupt` have done to it
_NUMBERS = int(_signal.SIGTERM), int(_signal.SIGALRM), int(_signal.SIGHUP)
_CLEANING = 1.0  # seconds: more than a call takes to end, and less than it takes a person to press again

Held = list[tuple[int, Any]]  # signals, and their handlers
_handled = [_SIGINT]  # those that have had handlers in Python when one last looked


def look_for_handlers() -> None:
    """See which signals have handlers that a `Shield` is to hold back: when a call begins, as it takes 0.5 us."""
    _handled[1:] = [number for number in _NUMBERS if callable(_signal.getsignal(number))]


class Shield:
    """Holds signal handlers back while the pool's state is being changed: one that raises would leave half a change."""

    def __init__(self) -> None:
        self._hits: list[int] = []
        self._raised_at = 0.0  # by time.monotonic
        self._once = self._raise_once  # one object: it is recognised as the handler

    def up(self) -> Held | None:
        """From here on, note signals that have a handler in Python, and do nothing.

        Returns:
            What `down` is to be given; None where no handler is in the way.
        """
        held: Held = []
        if not _is_main():
            return None
        try:
            for number in _handled:
                handler = _signal.getsignal(number)
                if callable(handler) and getattr(handler, "__func__", None) is not Shield._note:
                    held.append((number, handler))
                    _signal.signal(number, self._note)
        except BaseException:  # a handler that has not been replaced yet
            self.down(held)
            raise
        return held or None

    def down(self, held: Held) -> None:
        """Let handlers run again, first of all for what has come in between."""
        try:
            _restore(held)
        finally:
            if self._hits:
                hits, self._hits = self._hits, []
                _deliver(dict(held), iter(dict.fromkeys(hits)))

    def soften(self) -> None:
        """From here on, Ctrl-C that follows another within a second is ignored: who cleans up is not interrupted."""
        if _signal.getsignal(_SIGINT) is _signal.default_int_handler:
            self._raised_at = 0.0
            self._install(self._once)

    def harden(self) -> None:
        """Ctrl-C always raises again."""
        if _signal.getsignal(_SIGINT) is self._once:
            self._install(_signal.default_int_handler)

    @staticmethod
    def _install(handler: Any) -> None:
        if _is_main():
            _signal.signal(_SIGINT, handler)

    def _note(self, number: int, frame: object) -> None:
        self._hits.append(number)

    def _raise_once(self, *_: object) -> None:
        now = monotonic()
        if now - self._raised_at > _CLEANING:
            self._raised_at = now
            raise KeyboardInterrupt


def _is_main() -> bool:
    """Whether this is the thread in which alone handlers run, and can be replaced."""
    return threading.get_ident() == threading.main_thread().ident


def _restore(held: Held) -> None:
    """Give all of them their handlers back, whatever is raised by those that have theirs, at whichever step."""
    left, interruption = [*held], None
    while left:
        try:
            while left:
                _signal.signal(*left[-1])
                del left[-1]
        except BaseException as error:
            interruption = error
    if interruption is not None:
        raise interruption


def _deliver(handlers: dict[int, Any], hits: Iterator[int]) -> None:
    for number in hits:
        try:
            handlers[number](number, sys._getframe())
        finally:
            _deliver(handlers, hits)


class Exclusive:
    """For short changes: a signal handler, or a destructor, may run in the middle of one and want another."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._shield = Shield()
        self._held: Held | None = None
        self._is_busy = False

    def __enter__(self) -> None:
        held = self._shield.up()  # first: no handler must raise between taking the lock and knowing of it
        self._lock.acquire()
        if self._is_busy:
            self._lock.release()
            if held is not None:
                self._shield.down(held)
            raise RuntimeError("the pool is in use by this thread, below the code that called it")
        self._held = held
        self._is_busy = True

    def __exit__(self, *_: object) -> None:
        held = self._held
        self._is_busy = False
        self._lock.release()
        if held is not None:
            self._shield.down(held)
