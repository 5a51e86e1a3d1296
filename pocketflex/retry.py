"""How often an item is tried: attempts, the wait between them, the fallback after them.

The number of the attempt lives in a context variable, never on the node: one node object may run
many items at once, and each of them has a full set of attempts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic, sleep  # `wait` is a pause that the user asked for; nothing else here sleeps
from typing import Any

from .errors import InitializerError, ItemTimeoutError, OptionError
from .outcome import Failure, Outcome, Outcomes, Value, describe
from .seeds import begin_draws, drawing

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
class Initializer:
    """What is called in a process before its first item of a job."""

    function: Callable[..., object]
    args: tuple[Any, ...] = ()

    def run(self, label: str) -> None:
        """Call it here.

        Raises:
            InitializerError: It raised an exception; KeyboardInterrupt passes through.
        """
        try:
            self.function(*self.args)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise InitializerError(f"{label}: its initializer failed: {describe(error)}") from error


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
        seed: What the random numbers of items follow from (seeds.py), None where they are their own affair.
            Each attempt begins with the same; a chunk has those of its first item.
        initializer: What is called before, once in each process that runs items.
    """

    function: Callable[[Any], Any]
    retry: Retry = Retry()
    fallback: Callable[[Any, Exception], Any] | None = None
    chunk: Callable[[Any], Any] | None = None
    seed: int | None = None
    initializer: Initializer | None = None

    def __reduce__(self) -> tuple[type[Call], tuple[Any, ...]]:
        is_short = self.is_plain and self.initializer is None
        more = () if is_short else (self.retry, self.fallback, self.chunk, self.seed, self.initializer)
        return Call, (self.function, *more)

    @property
    def is_plain(self) -> bool:
        """Whether an item is one bare call of `function`: no retry, fallback, chunk or seed."""
        return self.retry.attempts == 1 and self.fallback is None and self.chunk is None and self.seed is None

    def initialize(self, label: str) -> None:
        """Get this process ready to run items.

        Raises:
            InitializerError: The user's initializer raised an exception.
        """
        if self.initializer is not None:
            self.initializer.run(label)

    def run(self, index: int, item: Any, timeout: float | None = None) -> Outcome:
        """Try one item and return its outcome; only KeyboardInterrupt passes through.

        It is not stopped here: where it took longer than `timeout` seconds, it has failed once it ends.
        """
        return self._timed(self.function, index, item, timeout)

    def run_chunk(self, start: int, items: Any, timeout: float | None = None) -> Outcomes:
        """Give `items` to `chunk` as a whole; where that fails or takes too long, one at a time.

        Args:
            start: Index of the first item.
            items: A list, or an ndarray whose rows are the items.
            timeout: Seconds that one item may take.
        """
        outer, begun = current_attempt(), monotonic()
        begin_attempt(0)
        try:
            results = self._several(items) if self.seed is None else self._draw_several(self.seed, start, items)
            if timeout is None or monotonic() - begun <= timeout * len(items):
                return Outcomes(start, results)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if len(items) == 1 and self.retry.attempts == 1 and self.fallback is None:
                return Outcomes.gather(start, [Failure(start, error)])
        finally:
            begin_attempt(outer)
        ones = [items[at : at + 1] for at in range(len(items))]
        return Outcomes.gather(start, [self._run_one(start + at, one, timeout) for at, one in enumerate(ones)])

    def _run_one(self, index: int, one: Any, timeout: float | None) -> Outcome:
        return self._timed(lambda _item: self._several(one)[0], index, one[0], timeout)

    def _timed(self, function: Callable[[Any], Any], index: int, item: Any, timeout: float | None) -> Outcome:
        outer, begun = current_attempt(), monotonic()
        try:
            if self.seed is None:
                outcome = self._try(function, index, item)
            else:
                outcome = self._try_drawing(self.seed, function, index, item)
        finally:
            begin_attempt(outer)
        seconds = monotonic() - begun
        if timeout is None or seconds <= timeout:
            return outcome
        error = ItemTimeoutError(f"item {index} took {seconds:.3g} s, longer than timeout={timeout:g} s")
        return Failure(index, error, kind="timeout")

    def _several(self, items: Any) -> list[Any]:
        assert self.chunk is not None
        results = list(self.chunk(items))
        if len(results) != len(items):
            raise ValueError(f"exec_chunk returned {len(results)} results for {len(items)} items")
        return results

    def _draw_several(self, seed: int, start: int, items: Any) -> list[Any]:
        with drawing(seed, start):
            begin_draws(seed, start)
            return self._several(items)

    def _try_drawing(self, seed: int, function: Callable[[Any], Any], index: int, item: Any) -> Outcome:
        def draw(item: Any) -> Any:
            begin_draws(seed, index)
            return function(item)

        with drawing(seed, index):
            return self._try(draw, index, item)

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
