"""The process pools of the standard library."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from ..loads.load import Function, Kind, Load, Results, Task
from ..messages import Form
from .peer import WORKERS, Peer, Style, cut, join, map_chunk, map_stacked


class Chunking(Peer):
    """A pool with a ``map(function, items, chunksize)``: used as it is, or with chunks made by hand.

    On a million items the slow ones are given only the chunks made by hand, or they would take minutes.
    """

    is_slow = False

    def styles(self, kind: Kind) -> dict[str, Style]:
        """The pool's own `map`, and chunks made by hand."""
        by_hand: dict[str, Style] = {"chunks": self._map_chunks, "stacked": self._map_stacked}
        return by_hand if kind is Kind.TINY and self.is_slow else {"map": self._map, **by_hand}

    def forms(self, load: Load) -> list[Form]:
        """Chunks by hand come first where there is much to carry, and are all there is for rows of an array."""
        by_hand = ["stacked"] * load.is_stacked + ["chunks"]
        own = ["map"] if load.block is None and "map" in self.styles(load.kind) else []
        styles = by_hand + own if load.kind is Kind.HEAVY else own + by_hand
        return [Form(style, size) for style in styles for size in load.sizes]

    def call(self, function: Function, items: Any, chunksize: int) -> list[Any]:
        """The pool's own `map`."""
        raise NotImplementedError

    def _map(self, task: Task, size: int) -> Results:
        return self.call(task.function, task.items, size)

    def _map_chunks(self, task: Task, size: int) -> Results:
        return join(self.call(partial(map_chunk, task.function), cut(task.items, size), 1))

    def _map_stacked(self, task: Task, size: int) -> Results:
        return join(self.call(partial(map_stacked, task.function), cut(task.items, size), 1))


class Pool(Chunking):
    """`multiprocessing.Pool`."""

    def open(self) -> None:
        """Start the workers."""
        self._pool = multiprocessing.Pool(WORKERS)

    def close(self) -> None:
        """End them."""
        self._pool.terminate()

    def call(self, function: Function, items: Any, chunksize: int) -> list[Any]:
        """`Pool.map`."""
        return self._pool.map(function, items, chunksize)

    def one(self, function: Function, item: Any) -> Any:
        """`Pool.apply`."""
        return self._pool.apply(function, (item,))


class Executor(Chunking):
    """`concurrent.futures.ProcessPoolExecutor`."""

    def open(self) -> None:
        """It starts its workers at the first call."""
        self._executor = ProcessPoolExecutor(WORKERS)

    def close(self) -> None:
        """End them."""
        self._executor.shutdown(cancel_futures=True)

    def call(self, function: Function, items: Any, chunksize: int) -> list[Any]:
        """`Executor.map`."""
        return list(self._executor.map(function, items, chunksize=chunksize))

    def one(self, function: Function, item: Any) -> Any:
        """A future."""
        return self._executor.submit(function, item).result()
