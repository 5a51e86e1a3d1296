"""A lock whose holder is told, instead of waiting for itself, when it comes again."""

from __future__ import annotations

from threading import RLock


class Exclusive:
    """For short changes: a signal handler, or a destructor, may run in the middle of one and want another."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._is_busy = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._is_busy:
            self._lock.release()
            raise RuntimeError("the pool is in use by this thread, below the code that called it")
        self._is_busy = True

    def __exit__(self, *_: object) -> None:
        self._is_busy = False
        self._lock.release()
