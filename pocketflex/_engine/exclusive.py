"""A lock whose holder is told, instead of waiting for itself, when it comes again; and a shield from Ctrl-C."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself makes enums, for 3 us a call
import threading
from time import monotonic
from typing import Any

_SIGINT = int(_signal.SIGINT)
_CLEANING = 1.0  # seconds: more than a call takes to end, and less than it takes a person to press again


class Shield:
    """Holds Ctrl-C back while the pool's state is being changed: half a change would lose items."""

    def __init__(self) -> None:
        self._is_hit = False
        self._raised_at = 0.0  # by time.monotonic
        self._once = self._raise_once  # one object: it is recognised as the handler

    def up(self) -> Any:
        """From here on, note Ctrl-C and do nothing, where it would raise KeyboardInterrupt.

        Returns:
            What `down` is to be given; None where it would not, and nothing is changed.
        """
        handler = _signal.getsignal(_SIGINT)
        if handler is not _signal.default_int_handler and handler is not self._once:
            return None
        self._is_hit = False
        return handler if self._install(self._note) else None

    def down(self, handler: Any) -> None:
        """Let Ctrl-C through again, first of all the one that came in between."""
        _signal.signal(_SIGINT, handler)
        if self._is_hit:
            self._is_hit = False
            if handler is not self._once:
                raise KeyboardInterrupt
            self._raise_once()

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
    def _install(handler: Any) -> bool:
        try:
            _signal.signal(_SIGINT, handler)
        except ValueError:  # not in the main thread, where alone it is raised
            return False
        return True

    def _note(self, number: int, frame: object) -> None:
        self._is_hit = True

    def _raise_once(self, *_: object) -> None:
        now = monotonic()
        if now - self._raised_at > _CLEANING:
            self._raised_at = now
            raise KeyboardInterrupt


class Exclusive:
    """For short changes: a signal handler, or a destructor, may run in the middle of one and want another."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._shield = Shield()
        self._handler: Any = None
        self._is_busy = False

    def __enter__(self) -> None:
        handler = self._shield.up()  # first: Ctrl-C must not come between taking the lock and knowing of it
        self._lock.acquire()
        if self._is_busy:
            self._lock.release()
            if handler is not None:
                self._shield.down(handler)
            raise RuntimeError("the pool is in use by this thread, below the code that called it")
        self._handler = handler
        self._is_busy = True

    def __exit__(self, *_: object) -> None:
        handler = self._handler
        self._is_busy = False
        self._lock.release()
        if handler is not None:
            self._shield.down(handler)
