"""`Call`: what is done with an item, where it does not have to be awaited: attempts, fallback, the form for chunks.

a worker              try_on ──▶ an outcome, or `Later`: told to the parent, which has it tried again in time
every other place     run    ──▶ an outcome; it waits itself between two attempts
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from time import monotonic, sleep  # the wait between attempts is a pause that the user asked for
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import ChunkError, ItemTimeoutError
from .outcome import Failure, Outcome, Outcomes, Value, trace
from .retry import Retry, begin_attempt, current_attempt

if TYPE_CHECKING:
    from .prepared import Initializer


class Later(NamedTuple):
    """An item has no outcome yet: it is to be tried again.

    Attributes:
        attempts: How often it has been tried.
        spent: Seconds that its attempts took; `timeout` counts all of them, and no wait between them.
        pause: Seconds to wait before the next one.
    """

    attempts: int = 0
    spent: float = 0.0
    pause: float = 0.0


FRESH = Later()
Begin = Callable[[int], None]
Function = Callable[[Any], Any]
_ONCE = Retry()
_NO_SEQUENCES = (set, frozenset, dict, str, bytes)  # they have no order of results, or none of results


@dataclass(frozen=True, slots=True)
class Call:
    """What is done with an item: a function, how often to try it, and what to do when it fails.

    Attributes:
        function: Called with one item; its return value is the item's result.
        retry: How often an item is tried, and after what.
        fallback: Called with the item and the last exception once nothing more is tried; its
            return value becomes the result. It may raise.
        chunk: The vectorised form, or None: called with several items, a list or an ndarray view,
            and returns as many results. When it fails, the items are tried one at a time, each as
            a chunk of one, so that only the guilty ones fail.
    """

    function: Function
    retry: Retry = _ONCE
    fallback: Callable[[Any, Exception], Any] | None = None
    chunk: Function | None = None

    def __reduce__(self) -> tuple[type[Call], tuple[Any, ...]]:
        return Call, (self.function,) if self.is_plain else (self.function, self.retry, self.fallback, self.chunk)

    @property
    def is_plain(self) -> bool:
        """Whether an item is one bare call of `function`: no retry, fallback or chunk."""
        return self.retry.attempts == 1 and self.fallback is None and self.chunk is None

    @property
    def initializer(self) -> Initializer | None:
        """What each process that runs items calls before them; of a bare call nothing (prepared.py)."""
        return None

    def run(self, index: int, item: Any, timeout: float | None = None) -> Outcome:
        """Try one item and return its outcome; only KeyboardInterrupt passes through.

        It is not stopped here: where it took longer than `timeout` seconds, it has failed once it ends.
        """
        found = self._try(self.function, index, item, timeout, FRESH)
        return found if type(found) is Value else self._end(self.function, index, [item], timeout, found)

    def try_on(
        self, index: int, item: Any, timeout: float | None, before: Later, begin: Begin = begin_attempt
    ) -> Outcome | Later:
        """As `run`, but where there is a wait before the next attempt, say so instead.

        Args:
            index: Index of the item.
            item: The item.
            timeout: Seconds that all attempts may take.
            before: What this said the last time, `FRESH` the first time.
            begin: Called with the number of each attempt, from 0, when it begins.
        """
        return self._try(self.function, index, item, timeout, before, begin)

    def run_chunk(self, start: int, items: Any, timeout: float | None = None) -> Outcomes:
        """Give `items` to `chunk` as a whole; where that fails or takes too long, one at a time.

        Args:
            start: Index of the first item.
            items: A list, or an ndarray whose rows are the items.
            timeout: Seconds that one item may take.
        """
        whole = self.run_whole(start, items, timeout)
        if whole is not None:
            for failure in whole.failures:
                trace(failure, self, items)
            return whole
        ones = [items[at : at + 1] for at in range(len(items))]
        return Outcomes.gather(start, [self._run_alone(at, one, timeout) for at, one in enumerate(ones, start)])

    def _run_alone(self, index: int, one: Any, timeout: float | None) -> Outcome:
        found = self.try_alone(index, one, timeout, FRESH)
        return self._end(self._called_alone(one), index, one, timeout, found)

    def run_whole(self, start: int, items: Any, timeout: float | None = None) -> Outcomes | None:
        """Give `items` to `chunk` as a whole; None where they are to be tried one at a time."""
        outer, begun = current_attempt(), monotonic()
        begin_attempt(0)
        try:
            results = self._returned(items)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if len(items) == 1 and self.retry.attempts == 1 and self.fallback is None:
                return Outcomes.gather(start, [Failure(start, error)])
            return None
        finally:
            begin_attempt(outer)
        try:
            _check_chunk(results, len(items))
        except ChunkError as error:  # to try the items one by one might hide it, and give results that are wrong
            return Outcomes.gather(start, [Failure(start + at, error) for at in range(len(items))])
        is_in_time = timeout is None or monotonic() - begun <= timeout * len(items)
        return Outcomes(start, results) if is_in_time else None

    def try_alone(
        self, index: int, one: Any, timeout: float | None, before: Later, begin: Begin = begin_attempt
    ) -> Outcome | Later:
        """As `try_on`, for a chunk of one item."""
        return self._try(self._called_alone(one), index, one[0], timeout, before, begin)

    def item_of(self, one: Any, number: int) -> Any:
        """The one item of a list, or of rows of an ndarray, as the user gave it."""
        return one[0]

    def replay(self, one: Any, number: int = 0) -> Any:
        """Call the function with the one item of a list, or of rows of an ndarray; nothing is caught."""
        outer = current_attempt()
        begin_attempt(0)
        try:
            return self.function(one[0]) if self.chunk is None else self._several(one)[0]
        finally:
            begin_attempt(outer)

    def _called_alone(self, one: Any) -> Function:
        return lambda _item: self._several(one)[0]

    def _several(self, items: Any) -> list[Any]:
        results: list[Any] = self._returned(items)
        _check_chunk(results, len(items))
        return results

    def _returned(self, items: Any) -> Any:
        """What `chunk` gives, as a list where it is a sequence."""
        assert self.chunk is not None
        results = self.chunk(items)
        return results if isinstance(results, _NO_SEQUENCES) else list(results)

    def _end(self, function: Function, index: int, one: Any, timeout: float | None, found: Outcome | Later) -> Outcome:
        """Wait and try until there is an outcome."""
        while isinstance(found, Later):
            sleep(found.pause)
            found = self._try(function, index, one[0], timeout, found)
        if isinstance(found, Failure):
            trace(found, self, one)
        return found

    def _try(
        self, function: Function, index: int, item: Any, timeout: float | None, before: Later,
        begin: Begin = begin_attempt, /,
    ) -> Outcome | Later:  # fmt: skip
        outer, begun = current_attempt(), monotonic() - before.spent
        deadline = inf if timeout is None else begun + timeout
        try:
            found = self._attempt(function, index, item, before.attempts, deadline, begin)
            attempts = current_attempt() + 1
        finally:
            begin_attempt(outer)
        ended = monotonic()
        if ended > deadline:
            error = ItemTimeoutError(f"item {index} took {ended - begun:.3g} s, longer than timeout={timeout:g} s")
            error.__cause__ = found.error if isinstance(found, Failure) else None
            return Failure(index, error, attempts, "timeout")
        return found._replace(spent=ended - begun) if type(found) is Later else found

    def _attempt(
        self, function: Function, index: int, item: Any, attempts: int, deadline: float, begin: Begin
    ) -> Outcome | Later:
        """Try until there is an outcome, or a wait, or no time is left."""
        while True:
            begin(attempts)
            attempts += 1
            try:
                return Value(function(item))
            except Exception as error:
                if monotonic() > deadline:
                    return Failure(index, error, attempts)
                final = self._weigh(index, item, error, attempts)
                if final is not None:
                    return final
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # SystemExit and its like: the item's failure, not tried again
                return Failure(index, error, attempts)
            if pause := self.retry.pause(attempts):
                return Later(attempts, 0.0, pause)

    def _weigh(self, index: int, item: Any, error: Exception, attempts: int) -> Outcome | None:
        """The outcome of an item whose attempt has failed; None: it is tried again."""
        try:
            if self.retry.goes_on(attempts, error):
                return None
            if self.fallback is None:
                return Failure(index, error, attempts)
            return Value(self.fallback(item, error))
        except KeyboardInterrupt:
            raise
        except BaseException as final:  # of the fallback, or of the function that says what is tried again
            return Failure(index, final, attempts)


def _check_chunk(results: Any, count: int) -> None:
    """Raise ChunkError if these are not so many results of a chunk."""
    if isinstance(results, _NO_SEQUENCES):
        kind = type(results).__name__
        raise ChunkError(f"exec_chunk returned a {kind}: it must return a list of one result for each item")
    if len(results) != count:
        raise ChunkError(f"exec_chunk returned {len(results)} results for {count} items")
