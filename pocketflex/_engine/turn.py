"""Whose turn it is to wait for everybody: leader and followers, without a helper thread.

Of all threads that wait, one leads: it polls without holding the lock, then serves what came with
the lock held. The others follow: they sleep until something was served. When the leader has what it
waited for it leaves, and a follower takes the lead.

The garbage collector can close a generator, and so end a job, in the middle of anything, in a
thread that already holds the lock. `defer` notices that and leaves the work for the holder's end.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Turn:
    """A lock, and who leads."""

    def __init__(
        self,
        patience: Callable[[], float | None],
        poll: Callable[[float | None], list[int]],
        serve: Callable[[list[int]], None],
    ) -> None:
        """Wire the three steps of leading.

        Args:
            patience: Called with the lock held: seconds that a poll may last, None for any time.
            poll: Called without the lock, with the seconds; returns what is ready.
            serve: Called with the lock held and with what is ready.
        """
        self._patience = patience
        self._poll = poll
        self._serve = serve
        self._lock = threading.Lock()  # taken by itself: Ctrl-C within Condition.__enter__ would leave it locked
        self._changed = threading.Condition(self._lock)
        self._holder = 0  # thread that holds the lock, 0 for none
        self._is_led = False
        self._deferred: deque[Callable[[], None]] = deque()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock; on the way out, do what was deferred."""
        with self._lock:
            self._holder = threading.get_ident()
            try:
                yield
            finally:
                try:
                    while self._deferred:
                        self._deferred.popleft()()
                finally:
                    self._holder = 0

    def defer(self, action: Callable[[], None]) -> bool:
        """If this thread holds the lock already, leave `action` for the holder's end and say True."""
        if self._holder != threading.get_ident():
            return False
        self._deferred.append(action)
        return True

    def lead(self, is_done: Callable[[], bool], deadline: float | None = None) -> None:
        """Lead or follow until `is_done`, or until `deadline` by `time.monotonic`.

        `is_done` is asked with the lock held.
        """
        with self.hold():
            while not is_done():
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return
                if self._is_led:
                    self._follow(left)
                else:
                    self._lead_once(_least(left, self._patience()))

    def _follow(self, left: float | None) -> None:
        self._holder = 0
        try:
            self._changed.wait(left)
        finally:
            self._holder = threading.get_ident()

    def _lead_once(self, seconds: float | None) -> None:
        self._is_led = True
        try:
            self._serve(self._poll_unlocked(seconds))
        finally:
            self._is_led = False
            self._changed.notify_all()

    def _poll_unlocked(self, seconds: float | None) -> list[int]:
        self._holder = 0
        self._lock.release()
        try:
            return self._poll(seconds)
        finally:
            self._lock.acquire()
            self._holder = threading.get_ident()


def _least(*seconds: float | None) -> float | None:
    return min((value for value in seconds if value is not None), default=None)
