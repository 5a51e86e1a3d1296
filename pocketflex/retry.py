"""How often an item is tried: attempts, the wait between them, the fallback after them.

The number of the attempt lives in a context variable, never on the node: one node object may run
many items at once, and each of them has a full set of attempts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from time import sleep  # `wait` is a pause that the user asked for; nothing else here sleeps
from typing import Any

from .errors import OptionError
from .outcome import Failure, Outcome, Outcomes, Value

_attempt: ContextVar[int] = ContextVar("pocketflex_attempt", default=0)


def current_attempt() -> int:
    """The attempt that runs in this context, counted from 0."""
    return _attempt.get()


def begin_attempt(attempt: int) -> None:
    """Make `attempt` (from 0) the current one of this context."""
    _attempt.set(attempt)


@dataclass(frozen=True, slots=True)
class Retry:
    """How often to try, and how long to pause in between.

    Attributes:
        attempts: Attempts in all, at least 1.
        wait: Seconds between two attempts.
    """

    attempts: int = 1
    wait: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise OptionError(
                f"max_retries={self.attempts!r}: it counts the attempts in all, "
                "so it is a whole number and at least 1 (1 = try once)"
            )
        if isinstance(self.wait, bool) or not isinstance(self.wait, int | float) or not self.wait >= 0:
            raise OptionError(f"wait={self.wait!r}: it is a number of seconds, 0 or more")


@dataclass(frozen=True, slots=True)
class Call:
    """What is done with an item: a function, how often to try it, and what to do when it fails.

    Attributes:
        function: Called with one item; its return value is the item's result.
        retry: How often an item is tried.
        fallback: Called with the item and the last exception once all attempts have failed; its
            return value becomes the result. It may raise.
        chunk: The vectorised form, or None: called with several items, a list or an ndarray view,
            and returns as many results. When it fails, the items are tried one at a time, each as
            a chunk of one, so that only the guilty ones fail.
    """

    function: Callable[[Any], Any]
    retry: Retry = Retry()
    fallback: Callable[[Any, Exception], Any] | None = None
    chunk: Callable[[Any], Any] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether an item is one bare call of `function`: no retry, fallback or chunk."""
        return self.retry.attempts == 1 and self.fallback is None and self.chunk is None

    def run(self, index: int, item: Any) -> Outcome:
        """Try one item and return its outcome; only KeyboardInterrupt passes through."""
        return self._try(self.function, index, item)

    def run_chunk(self, start: int, items: Any) -> Outcomes:
        """Give `items` to `chunk` as a whole; on an exception, one at a time.

        Args:
            start: Index of the first item.
            items: A list, or an ndarray whose rows are the items.
        """
        begin_attempt(0)
        try:
            return Outcomes(start, self._several(items))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if len(items) == 1 and self.retry.attempts == 1 and self.fallback is None:
                return Outcomes.gather(start, [Failure(start, error)])
        return Outcomes.gather(start, [self.run_one(start + at, items[at : at + 1]) for at in range(len(items))])

    def run_one(self, index: int, one: Any) -> Outcome:
        """Give `chunk` a chunk of one item, with the retries and the fallback of a single item."""
        return self._try(lambda _item: self._several(one)[0], index, one[0])

    def _several(self, items: Any) -> list[Any]:
        assert self.chunk is not None
        results = list(self.chunk(items))
        if len(results) != len(items):
            raise ValueError(f"exec_chunk returned {len(results)} results for {len(items)} items")
        return results

    def _try(self, function: Callable[[Any], Any], index: int, item: Any) -> Outcome:
        attempt = 0
        while True:
            begin_attempt(attempt)
            attempt += 1
            try:
                return Value(function(item))
            except Exception as error:
                if attempt == self.retry.attempts:
                    return self._fall_back(index, item, error)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # SystemExit and its like: the item's failure, not tried again
                return Failure(index, error, attempt)
            if self.retry.wait:
                sleep(self.retry.wait)

    def _fall_back(self, index: int, item: Any, error: Exception) -> Outcome:
        if self.fallback is None:
            return Failure(index, error, self.retry.attempts)
        try:
            return Value(self.fallback(item, error))
        except KeyboardInterrupt:
            raise
        except BaseException as final:
            return Failure(index, final, self.retry.attempts)
