"""What a peer is given to do, and how its answer is checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..messages import Setting

Function = Callable[[Any], Any]
Items = Any  # a list, or an ndarray whose rows are the items
Results = Any  # a list, or an ndarray under output="array"


class Kind(Enum):
    """What is special about the items; peers choose the forms that they try by it."""

    TINY = "a million items of nanoseconds"
    BUSY = "items that keep a CPU busy and hold the GIL"
    HEAVY = "megabytes to carry"
    SINGLE = "one item"
    AWAITED = "coroutines"


@dataclass(frozen=True)
class Task:
    """What a peer maps.

    Attributes:
        function: Called with one item.
        items: The items.
        block: `function` for many rows of an array at once, for who tunes by hand; or None.
    """

    function: Function
    items: Items
    block: Function | None = None


@dataclass(frozen=True)
class Load:
    """A function, its items, and what the results must be.

    Attributes:
        function: Called with one item.
        make: Makes the items, in each runner.
        kind: What is special about them.
        sizes: Chunk sizes that peers are tried with; or how many coroutines run at once.
        oracle: What the result of an item must be; by default `function` itself.
        block: See `Task`.
        is_stacked: Results are arrays of one shape, which a peer may carry as one array a chunk.
        pilot_step: The pilot takes every so manieth item.
    """

    function: Function
    make: Callable[[Setting], Items]
    kind: Kind
    sizes: tuple[int, ...] = (1,)
    oracle: Function | None = None
    block: Function | None = None
    is_stacked: bool = False
    pilot_step: int = 1

    def task(self, items: Items) -> Task:
        """The items with their function."""
        return Task(self.function, items, self.block)

    def verify(self, items: Items, results: Results, step: int = 1) -> None:
        """Check every `step`-th result, the last one and their number.

        Raises:
            ValueError: The answer is wrong.
        """
        if len(results) != len(items):
            raise ValueError(f"{len(results)} results of {len(items)} items")
        oracle = self.oracle or self.function
        for index in {*range(0, len(items), step), len(items) - 1}:
            result, expected = results[index], oracle(items[index])
            is_wrong_type = isinstance(results, list) and type(result) is not type(expected)
            if is_wrong_type or not _is_same(result, expected):
                raise ValueError(f"wrong result of item {index}")


def _is_same(result: Any, expected: Any) -> bool:
    same = result == expected
    return bool(same if isinstance(same, bool) else same.all())  # arrays compare element by element
