"""A lock whose holder is told, instead of waiting for itself, when it comes again; and a shield from Ctrl-C."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself makes enums, for 3 us a call
import threading

_SIGINT = int(_signal.SIGINT)


class Shield:
    """Holds Ctrl-C back while the pool's state is being changed: half a change would lose items."""

    def __init__(self) -> None:
        self._is_hit = False

    def up(self) -> bool:
        """From here on, note Ctrl-C and do nothing, where it would raise KeyboardInterrupt; says whether it would."""
        if _signal.getsignal(_SIGINT) is not _signal.default_int_handler:
            return False
        try:
            _signal.signal(_SIGINT, self._note)
        except ValueError:  # not in the main thread, where alone it is raised
            return False
        return True

    def down(self) -> None:
        """Let Ctrl-C through again, first of all the one that came in between."""
        _signal.signal(_SIGINT, _signal.default_int_handler)
        if self._is_hit:
            self._is_hit = False
            raise KeyboardInterrupt

    def _note(self, number: int, frame: object) -> None:
        self._is_hit = True


class Exclusive:
    """For short changes: a signal handler, or a destructor, may run in the middle of one and want another."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._shield = Shield()
        self._is_shielded = False
        self._is_busy = False

    def __enter__(self) -> None:
        is_shielded = self._shield.up()  # first: Ctrl-C must not come between taking the lock and knowing of it
        self._lock.acquire()
        if self._is_busy:
            self._lock.release()
            if is_shielded:
                self._shield.down()
            raise RuntimeError("the pool is in use by this thread, below the code that called it")
        self._is_shielded = is_shielded
        self._is_busy = True

    def __exit__(self, *_: object) -> None:
        is_shielded = self._is_shielded
        self._is_busy = False
        self._lock.release()
        if is_shielded:
            self._shield.down()
