"""The loop over items that run in the calling process, a slice at a time; inside.py says when and which."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from time import monotonic, monotonic_ns, thread_time
from typing import TYPE_CHECKING, Any, TypeVar

from .._engine import native
from .._engine.board import CANCELLED
from .._engine.pace import MOST_ITEMS
from .._engine.source import Taken
from ..call import Call
from ..options import BatchOptions
from ..outcome import Failure, Outcomes, Value, trace
from ..retry import begin_attempt

if TYPE_CHECKING:
    from ..prepared import Initializer

SLICE = 0.003  # seconds: the workers have three times that to do, and other threads wait no longer for the GIL
_GROWTH = 32  # a share is at most so much larger than one that was measured
_EVIDENCE = 0.0005  # seconds that must have been spent on something before its cost is taken as known
_FOREVER = 1 << 62  # ns
Returned = TypeVar("Returned")
_running: ContextVar[bool] = ContextVar("pocketflex_runs_item", default=False)


def runs_item() -> bool:
    """Whether this context is an item's that runs here; a call below it runs its items in order, as in a worker."""
    return _running.get()


class Cost:
    """What something costs this process an item, the last ones counting most."""

    def __init__(self) -> None:
        self._seconds = self._items = 0.0
        self._most = 0

    def add(self, seconds: float, items: int) -> None:
        """So many items have cost so much."""
        self._seconds, self._items = self._seconds / 2 + seconds, self._items / 2 + items
        self._most = max(self._most, items)

    @property
    def each(self) -> float:
        """Seconds of an item, 0 as long as too little is known."""
        return self._seconds / self._items if self._seconds > _EVIDENCE else 0.0

    def within(self, seconds: float) -> int:
        """Items that cost about so much; one at first, and then not many more than have been measured."""
        each = self._seconds / self._items if self._items else seconds
        return max(1, min(_GROWTH * self._most, MOST_ITEMS, int(seconds / max(each, 1e-9))))


class Runner:
    """Runs items here, until so much time has passed."""

    def __init__(self, call: Call, options: BatchOptions, label: str = "") -> None:
        self._call = call
        self._label = label
        self._first = call.initializer  # what is to be called before anything runs, until it has been
        self.chunksize = options.chunksize  # what is taken is then run to its end
        self._words = memoryview(array("q", [1, *[0] * 7]))  # of a worker's slot, for the native loop
        self.cost = Cost()  # of running items

    @property
    def want(self) -> int:
        """How many items to take at a time."""
        return self.chunksize or self.cost.within(SLICE)

    def cancel(self) -> None:
        """Stop before the next item; the one under way cannot be interrupted."""
        self._words[CANCELLED] = self._words[0]

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return bool(self._words[CANCELLED])

    def run(self, start: int, taken: Taken, results: list[Any]) -> tuple[list[Failure], float]:
        """Run items from the first on, one at least.

        Args:
            start: Index of the first item.
            taken: The items.
            results: Where their results, or failures, are appended.

        Returns:
            The failures, and how many seconds that took.

        Raises:
            InitializerError: What is to be called before the first item raised an exception.
        """
        if self._first is not None:
            self._initialize(self._first)
        begun, computed, had = monotonic(), thread_time(), len(results)
        until = _FOREVER if self.chunksize else monotonic_ns() + int(SLICE * 1e9)
        run = self._run_plain if self._call.is_plain else self._run_tried
        failures: list[Failure] = []
        listed = taken if type(taken.items) is list else _listed(taken)
        _in_item(run, start - had, listed, results, failures, until)
        seconds, computed = monotonic() - begun, thread_time() - computed
        if len(results) > had:  # what others computed meanwhile is no cost of an item, where it waited itself is
            self.cost.add(computed if 10 * computed > seconds else seconds, len(results) - had)
        return failures, seconds

    def run_one(self, index: int, item: Any) -> Outcomes:
        """Run an item that could not be carried."""
        if self._first is not None:
            self._initialize(self._first)
        return Outcomes.gather(index, (_in_item(self._call.run, index, item),))

    def _initialize(self, initializer: Initializer) -> None:
        self._first = None
        initializer.run(self._label)

    def _run_plain(self, origin: int, taken: Taken, results: list[Any], failures: list[Failure], until: int) -> None:
        """Run bare calls; the loop is native. `origin` is the index of what results[0] is the result of."""
        function, words, (items, at, stop) = self._call.function, self._words, taken
        ahead, state = at - len(results), array("q", bytes(32))
        while at < stop:
            try:
                native.call_each(function, items, at, stop, results, words, 0, until, None, 0, state)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                failures.append(Failure(origin + len(results), _without_frame(error)))
                trace(failures[-1], self._call, [items[ahead + len(results)]])
                results.append(failures[-1])
                at = ahead + len(results)
                if monotonic_ns() <= until and not self.is_cancelled:
                    continue
            return

    def _run_tried(self, origin: int, taken: Taken, results: list[Any], failures: list[Failure], until: int) -> None:
        """Run calls that need more than that."""
        for index, item in enumerate(taken.sliced(), origin + len(results)):
            outcome = self._call.run(index, item)
            if isinstance(outcome, Failure):
                failures.append(outcome)
            results.append(outcome.result if isinstance(outcome, Value) else outcome)
            if monotonic_ns() > until or self.is_cancelled:
                return


def _listed(taken: Taken) -> Taken:
    items = list(taken.sliced())
    return Taken(items, 0, len(items))


def _without_frame(error: BaseException) -> BaseException:
    """An exception that was caught just now without the frames here, whose items would live as long as it."""
    caught = sys.exc_info()[2]
    traceback = caught and caught.tb_next
    if traceback and traceback.tb_frame.f_code is getattr(native.call_each, "__code__", None):  # the twin's
        traceback = traceback.tb_next
    return BaseException.with_traceback(error, traceback)


def _in_item(function: Callable[..., Returned], *args: Any) -> Returned:
    """Call a function in a context of its own, which ends with it: Ctrl-C cannot keep it from doing so."""
    return copy_context().run(_marked, function, *args)


def _marked(function: Callable[..., Returned], *args: Any) -> Returned:
    _running.set(True)
    begin_attempt(0)
    return function(*args)
