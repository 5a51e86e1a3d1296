"""`Retry`: how often an item is tried, after which exceptions, and how long to wait in between. A value, no clock.

`call.Call` applies it in this process and in the workers, `aio` on the event loop. The number of the
attempt lives in a context variable, never on the node: one node object may run many items at once, and
each of them has a full set of attempts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from .errors import OptionError

_FOREVER = 1e9  # seconds, 30 years
_MOST_ATTEMPTS = 1 << 31  # what a ledger has room for; nobody lives to see them
_attempt: ContextVar[int] = ContextVar("pocketflex_attempt", default=0)

Wanted = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]


def current_attempt() -> int:
    """The attempt that runs in this context, counted from 0."""
    return _attempt.get()


def begin_attempt(attempt: int) -> None:
    """Make `attempt` (from 0) the current one of this context."""
    _attempt.set(attempt)


@dataclass(frozen=True, slots=True)
class Retry:
    """How often an item is tried, after which exceptions, and how long to wait in between.

    For a node (``Node(retry=...)``, or an attribute of its class) and for a call (``retry=...``), where it wins
    over those of the nodes. What `on` does not want tried again fails at once; a fallback is asked in either case,
    once nothing more is tried.

    The wait before attempt *n* + 1 is ``wait * backoff ** (n - 1)``, at most `max_wait`, shortened by a part
    drawn at random of at most `jitter`. In a worker process it occupies no worker: other items run meanwhile.

    Attributes:
        attempts: Attempts in all, at least 1.
        wait: Seconds before the second attempt.
        backoff: By what the wait grows with each further attempt.
        max_wait: Seconds that a wait is at most, None for no limit.
        jitter: From 0 to 1: a wait is drawn evenly from ``[(1 - jitter) * wait, wait]``, so that items which
            failed together do not come back together. It is drawn from the system's own randomness: it differs from
            run to run, and the random generators of your program are neither used nor changed.
        on: What is tried again: an exception class, several in a tuple, or a function that is given the exception
            and says so. It must be possible to pickle it where items run in workers. Only what derives from
            Exception is ever tried again.

    Raises:
        OptionError: A value is wrong; the message names it.

    Example:
        >>> import pocketflex as pf
        >>> retry = pf.Retry(5, wait=0.5, backoff=2, max_wait=3, on=(ConnectionError, TimeoutError))
        >>> [retry.pause(attempts) for attempts in (1, 2, 3, 4)]
        [0.5, 1.0, 2.0, 3.0]
        >>> retry.goes_on(1, ConnectionError()), retry.goes_on(1, ValueError()), retry.goes_on(5, ConnectionError())
        (True, False, False)
    """

    attempts: int = 1
    wait: float = 0.0
    backoff: float = field(default=1.0, kw_only=True)
    max_wait: float | None = field(default=None, kw_only=True)
    jitter: float = field(default=0.0, kw_only=True)
    on: Wanted = field(default=Exception, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise OptionError(
                f"attempts={self.attempts!r}: it counts the attempts in all, "
                "so it is a whole number and at least 1 (1 = try once)"
            )
        if self.attempts > _MOST_ATTEMPTS:
            raise OptionError(f"attempts={self.attempts!r}: it is at most 2**31")
        self._check("wait", 0, _FOREVER, "a number of seconds, 0 or more (and at most a billion)")
        self._check("backoff", 1, _FOREVER, "the factor by which waits grow, at least 1")
        self._check("jitter", 0, 1, "the part of a wait that is left to chance, from 0 to 1")
        if self.max_wait is not None:
            self._check("max_wait", 0, _FOREVER, "a number of seconds, 0 or more, or None for no limit")
        kinds = self.on if isinstance(self.on, tuple) else (self.on,)
        if not (callable(self.on) and not isinstance(self.on, type)) and not (kinds and all(map(_is_kind, kinds))):
            wanted = "an exception class below Exception, a tuple of them, or a function of an exception"
            raise OptionError(f"on={self.on!r}: it must be {wanted}")

    @property
    def waits(self) -> bool:
        """Whether there may be a wait between two attempts."""
        return self.attempts > 1 and self.wait > 0 and self.max_wait != 0

    def goes_on(self, attempts: int, error: Exception) -> bool:
        """Whether an item that has been tried `attempts` times, the last time with `error`, is tried again."""
        if attempts >= self.attempts:
            return False
        if isinstance(self.on, type | tuple):
            return isinstance(error, self.on)
        return bool(self.on(error))

    def pause(self, attempts: int) -> float:
        """Seconds to wait after so many attempts."""
        if not self.wait:
            return 0.0
        most = _FOREVER if self.max_wait is None else self.max_wait
        try:
            seconds = float(min(most, self.wait * self.backoff ** (attempts - 1)))
        except OverflowError:
            seconds = most
        return seconds * (1 - self.jitter * _chance()) if self.jitter else seconds

    def _check(self, name: str, least: float, most: float, wanted: str) -> None:
        value: Any = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise OptionError(f"{name}={value!r}: it is {wanted}")


def policy(max_retries: int, wait: float, retry: Retry | None) -> Retry:
    """How often a node's `exec` is tried: as its `retry` says, or its `max_retries` and `wait`.

    Raises:
        OptionError: It has both, or one of them has a wrong value.
    """
    if retry is None:
        try:
            return Retry(max_retries, wait)
        except OptionError as error:
            raise OptionError(str(error).replace("attempts=", "max_retries=", 1)) from None
    if not isinstance(retry, Retry):
        raise OptionError(f"retry={retry!r:.60}: it must be a Retry, as in retry=pf.Retry(3, wait=0.5)")
    if (max_retries, wait) != (1, 0):
        raise OptionError(
            f"max_retries={max_retries!r} and wait={wait!r} beside retry={retry!r}: give one or the other; "
            "Retry(attempts, wait) is the same as the former"
        )
    return retry


def _is_kind(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Exception)


def _chance() -> float:
    """From 0 up to 1. Not by `random`: workers are forks of one process, and would all draw the same."""
    return int.from_bytes(os.urandom(6)) / (1 << 48)
