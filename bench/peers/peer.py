"""What a peer is: something that can be opened, maps a task in one of several forms, and is closed."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from typing import Any

from ..loads.load import Function, Items, Kind, Load, Results, Task
from ..messages import Form

WORKERS = 2
Style = Callable[[Task, int], Results]


class LackingError(Exception):
    """The peer does not know an option that it would need."""


class Peer:
    """A way to call a function with many items; by default one without a pool.

    The constructor imports the peer's package; `open` starts its workers and is what a cold call pays.
    """

    def open(self) -> None:
        """Start the pool."""

    def close(self) -> None:
        """End the pool."""

    def styles(self, kind: Kind) -> dict[str, Style]:
        """The ways worth trying on such items, the most promising first."""
        raise NotImplementedError

    def forms(self, load: Load) -> list[Form]:
        """Every form that the pilot tries: the styles with each of the load's sizes."""
        return [Form(style, size) for style in self.styles(load.kind) for size in load.sizes]

    def map(self, task: Task, form: Form, kind: Kind) -> Results:
        """The results, in order."""
        return self.styles(kind)[form.style](task, form.size)

    def one(self, function: Function, item: Any) -> Any:
        """The result of one item, by the shortest way there is."""
        return self.map(Task(function, [item]), Form(next(iter(self.styles(Kind.SINGLE))), 1), Kind.SINGLE)[0]


def cut(items: Items, size: int) -> list[Any]:
    """The items in chunks, as people cut them by hand; those of an array are views."""
    return [items[at : at + size] for at in range(0, len(items), size)]


def join(parts: Iterable[Iterable[Any]]) -> list[Any]:
    """The results of chunks in one list; a stacked part gives its rows."""
    return [result for part in parts for result in part]


def map_chunk(function: Function, chunk: Items) -> list[Any]:
    """What a worker does with a chunk."""
    return [function(item) for item in chunk]


def map_stacked(function: Function, chunk: Items) -> Any:
    """`map_chunk` whose results, arrays of one shape, travel as one array."""
    import numpy as np

    return np.stack([function(item) for item in chunk])


def map_pickled(function: Function, chunk: bytes) -> bytes:
    """`map_chunk` for a peer that is slow at carrying lists: it carries bytes."""
    return pickle.dumps(map_chunk(function, pickle.loads(chunk)), 5)


def map_part(function: Function, items: Items, start: int, stop: int) -> list[Any]:
    """`map_chunk` of a part of items that the worker can see as a whole."""
    return map_chunk(function, items[start:stop])


def map_part_stacked(function: Function, items: Items, start: int, stop: int) -> Any:
    """`map_stacked` of a part."""
    return map_stacked(function, items[start:stop])


def bounds(count: int, size: int) -> list[tuple[int, int]]:
    """Where the parts begin and end."""
    return [(at, min(at + size, count)) for at in range(0, count, size)]
