"""Whose turn it is to wait for everybody: leader and followers, without a helper thread.

Of all threads that wait, one leads: it polls without holding the lock, then serves what came with
the lock held. The others follow: they sleep until something was served. When the leader has what it
waited for it leaves, and a follower takes the lead.

Two things can happen in the middle of anything. The garbage collector, or a signal handler, may
close a generator and so end a job, in a thread that already holds the lock: the lock is reentrant,
and `defer` leaves the work for the holder's end if the holder is at work. And a signal handler, that of Ctrl-C most
of all, may raise anywhere in the main thread: the lock is taken, and what it guards is changed, behind a shield
from handlers, and a leader that is interrupted still hands the lead on.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

from ..errors import WorkerDiedError
from .exclusive import Held, Shield, look_for_handlers


class Turn:
    """A lock, and who leads."""

    def __init__(
        self,
        patience: Callable[[], float],
        poll: Callable[[float], list[int]],
        serve: Callable[[list[int]], None],
        mend: Callable[[], None],
        heed: Callable[[], bool] = lambda: False,
    ) -> None:
        """Wire the steps of leading.

        Args:
            patience: Called with the lock held: seconds that a poll may last.
            poll: Called without the lock, with these seconds at the most; returns what is ready.
            serve: Called with the lock held and with what is ready.
            mend: Called with the lock held when a signal handler of the user's has raised in the
                middle of a change, so that half of it may be missing.
            heed: Called without the lock before each poll: what is served may be the user's to run. Says
                whether that was anything, and the poll is then not to wait.
        """
        self._patience = patience
        self._poll = poll
        self._serve = serve
        self._mend = mend
        self._heed = heed
        self._lock = threading.RLock()
        self._followers: list[threading.Lock] = []
        self._held: Held | None = None  # signal handlers, from which the holder is shielded
        self._is_busy = False  # whether the holder of the lock is changing what it guards
        self._leader = 0  # thread that leads, 0 for none
        self._deferred: deque[Callable[[], None]] = deque()
        self._shield = Shield()
        self._pid = os.getpid()

    def hold(self) -> Turn:
        """Hold the lock, in a `with`; on the way out, do what was deferred."""
        return self

    def __enter__(self) -> None:
        if os.getpid() != self._pid:  # the lock may be held for ever, by a thread that only the parent has
            raise WorkerDiedError("a call that was begun before this process was forked goes on in its parent only")
        held = self._shield.up()  # first: no handler must raise between taking the lock and knowing of it
        self._lock.acquire()
        if self._is_busy:  # this thread again, in a signal handler or a collection that does not defer
            self._lock.release()
            if held is not None:
                self._shield.down(held)
            raise RuntimeError("the pool is in use by this thread, below the code that called it")
        self._held = held
        self._is_busy = True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None and not issubclass(kind, Exception):
                self._mend()
            while self._deferred:
                self._deferred.popleft()()
        finally:
            held = self._held
            self._is_busy = False
            self._lock.release()
            if held is not None:
                self._shield.down(held)

    @property
    def is_mine(self) -> bool:
        """Whether this thread leads: below a signal handler, or a destructor, that wants something of the pool.

        It must not wait here: what it served meanwhile the wait below would never hear of.
        """
        return self._leader == threading.get_ident()

    def refuse_nested(self) -> None:
        """Raise RuntimeError if this thread leads."""
        if self.is_mine:
            raise RuntimeError("the pool is in use by this thread, below the code that called it")

    def defer(self, action: Callable[[], None]) -> bool:
        """If this thread is already at work under the lock, leave `action` for its end and say True."""
        with self._lock:
            if self._is_busy:
                self._deferred.append(action)
            return self._is_busy

    def lead(self, is_done: Callable[[], bool], deadline: float | None = None) -> None:
        """Lead or follow until `is_done`, or until `deadline` by `time.monotonic`.

        `is_done` is asked with the lock held.
        """
        look_for_handlers()
        me, ready, left = threading.get_ident(), list[int](), None
        is_polled = False
        try:
            self._shield.soften()
            while True:
                with self:
                    if is_polled:
                        self._serve(ready)
                        self._wake()
                    left = None if deadline is None else deadline - monotonic()
                    if is_done() or (left is not None and left <= 0):
                        self._leave()
                        return
                    news = self._follow() if self._leader not in (0, me) else None
                    if news is None:
                        self._leader = me
                        seconds = self._patience() if left is None else min(left, self._patience())
                is_polled = news is None
                if news is None:
                    ready = self._poll(0.0 if self._heed() else seconds)
                else:
                    news.acquire(timeout=-1 if left is None else left)
        finally:
            try:
                self._hand_on()
            finally:
                self._shield.harden()

    def _follow(self) -> threading.Lock:
        """A lock that is released at the next news. Not a Condition: Ctrl-C in its Python code would break it."""
        news = threading.Lock()
        news.acquire()
        self._followers.append(news)
        return news

    def glance(self) -> None:
        """Serve what is ready already, unless somebody leads."""
        with self:
            if not self._leader:
                self._serve(self._poll(0.0))
                self._wake()

    def _wake(self) -> None:
        """Let those who follow see what was served; the first of them leads if nobody does."""
        followers, self._followers = self._followers, []
        for news in followers:
            news.release()

    def _leave(self) -> None:
        """Stop leading, with the lock held."""
        if self._leader == threading.get_ident():
            self._leader = 0
            self._wake()

    def _hand_on(self) -> None:
        """If this thread leads, stop."""
        interruption: BaseException | None = None
        while self._leader == threading.get_ident():
            try:
                with self:
                    self._leave()
            except BaseException as error:  # of a signal: others would wait for ever for the lead to be handed on
                interruption = error
        if interruption is not None:
            raise interruption
