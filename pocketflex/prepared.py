"""`PreparedCall`: a `Call` whose items have random numbers of their own, or for which something is called before.

Calls with neither `seed` nor `initializer` are bare `Call`s: they are pickled and run as if none of this existed,
and do not import it.

Numbers follow from the index of an item in the input of the batch. A job counts its items itself; where it has
only some of the input, because the rest is in a journal, that is another number. Workers cannot ask the parent, so
either they are told which indexes there are (`Places`), or, of a stream, each item comes with its own.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from .call import Call, Later
from .errors import InitializerError
from .options import BatchOptions
from .outcome import Outcome, Outcomes, describe
from .seeds import begin_draws, drawing

T = TypeVar("T")


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

    def before(self, items: Iterable[T], label: str) -> Iterator[T]:
        """`items`; it is called before the first of them is handed on, and not at all where there is none.

        Raises:
            InitializerError: It raised an exception.
        """
        for number, item in enumerate(items):
            if not number:
                self.run(label)
            yield item


class Places:
    """From the number of an item in a job to its index in the input, of which the job has only a part."""

    def __init__(self, indexes: Iterable[int]) -> None:
        """Keep which `indexes` there are, in their order: one entry for each row of neighbours."""
        self._first = array("q")  # number of the first item of a row
        self._ahead = array("q")  # by what the indexes in it exceed the numbers
        for number, index in enumerate(indexes):
            if not self._ahead or index - number != self._ahead[-1]:
                self._first.append(number)
                self._ahead.append(index - number)

    def index(self, number: int) -> int:
        """The index of an item."""
        return number + self._ahead[bisect_right(self._first, number) - 1]


@dataclass(frozen=True, slots=True)
class Seeding:
    """What the random numbers of the items of a job follow from.

    Attributes:
        seed: The option.
        places: Which items of the input the job has; None: all.
        is_paired: Whether each item comes with its index, as a pair of both.
    """

    seed: int
    places: Places | None = None
    is_paired: bool = False

    def part(self, number: int, item: Any) -> tuple[int, Any]:
        """The index of an item in the input, and the item itself."""
        if self.is_paired:
            index, item = item
            return index, item
        return (number if self.places is None else self.places.index(number)), item


@dataclass(frozen=True)  # without slots, in which `super` does not work
class PreparedCall(Call):
    """A `Call` with more to it than the call.

    Attributes:
        seeding: What the random numbers of items follow from, None where they are their own affair. Each attempt
            begins with the same; a chunk has those of its first item.
        initializer: What is called before, once in each process that runs items.
    """

    seeding: Seeding | None = None
    initializer: Initializer | None = None

    def __reduce__(self) -> tuple[type[Call], tuple[Any, ...]]:
        return PreparedCall, (self.function, self.retry, self.fallback, self.chunk, self.seeding, self.initializer)

    @property
    def is_plain(self) -> bool:
        """Whether an item is one bare call of `function`."""
        return self.seeding is None and super().is_plain

    def run_whole(self, start: int, items: Any, timeout: float | None = None) -> Outcomes | None:
        """Give `items` to `chunk` as a whole; None where they are to be tried one at a time."""
        if self.seeding is None:
            return super().run_whole(start, items, timeout)
        seed, index = self.seeding.seed, self.seeding.part(start, items[0])[0]
        with drawing(seed, index):
            begin_draws(seed, index)
            return super().run_whole(start, items, timeout)

    def item_of(self, one: Any, number: int) -> Any:
        """The one item of a list, or of rows of an ndarray, as the user gave it."""
        return one[0] if self.seeding is None else self.seeding.part(number, one[0])[1]

    def replay(self, one: Any, number: int = 0) -> Any:
        """Call the function with the one item of a list, or of rows of an ndarray; nothing is caught."""
        if self.seeding is None:
            return super().replay(one)
        seed, (index, item) = self.seeding.seed, self.seeding.part(number, one[0])
        with drawing(seed, index):
            begin_draws(seed, index)
            return super().replay(one if self.chunk else [item])

    def _returned(self, items: Any) -> Any:
        is_paired = self.seeding is not None and self.seeding.is_paired
        return super()._returned([item for _, item in items] if is_paired else items)

    def _try(self, function: Callable[[Any], Any], index: int, item: Any, /, *how: Any) -> Outcome | Later:
        if self.seeding is None:
            return super()._try(function, index, item, *how)
        seed, (at, bare) = self.seeding.seed, self.seeding.part(index, item)

        def draw(item: Any) -> Any:
            begin_draws(seed, at)
            return function(item)

        with drawing(seed, at):
            return super()._try(draw, index, bare, *how)


def prepare(call: Call, options: BatchOptions) -> PreparedCall:
    """A call as `seed` and `initializer` of its batch say."""
    seeding = None if options.seed is None else Seeding(options.seed)
    return PreparedCall(call.function, call.retry, call.fallback, call.chunk, seeding, initializer_of(options))


def initializer_of(options: BatchOptions) -> Initializer | None:
    """What is to be called before the items of a batch."""
    return None if options.initializer is None else Initializer(options.initializer, options.initargs)


def place(call: Any, indexes: Iterable[int]) -> Any:
    """A call with a seed, for those items of the input that have these indexes."""
    return replace(call, seeding=replace(call.seeding, places=Places(indexes)))


def pair(call: Any) -> Any:
    """A call with a seed, for items that come with their index, as a pair of both."""
    return replace(call, seeding=replace(call.seeding, is_paired=True))
