"""The process pools that people install: joblib, mpire, pebble, pathos."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

from ..loads.load import Function, Kind, Load, Results, Task
from ..messages import Form
from .peer import (
    WORKERS,
    Peer,
    Style,
    bounds,
    cut,
    join,
    map_chunk,
    map_part,
    map_part_stacked,
    map_pickled,
    map_stacked,
)
from .stdlib import Chunking


class Joblib(Peer):
    """joblib with loky: chunks by hand, its own batching, or an array that it puts into a memmap."""

    def __init__(self) -> None:
        import joblib

        self._joblib = joblib

    def open(self) -> None:
        """It starts its workers at the first call."""
        self._parallel = self._joblib.Parallel(n_jobs=WORKERS)
        self._parallel.__enter__()

    def close(self) -> None:
        """End them."""
        self._parallel.__exit__(None, None, None)

    def styles(self, kind: Kind) -> dict[str, Style]:
        """Its own batching takes seconds on a million items and is left out there."""
        styles: dict[str, Style] = {
            "chunks": partial(self._map_chunks, map_chunk),
            "stacked": partial(self._map_chunks, map_stacked),
            "memmap": partial(self._map_parts, map_part),
            "memmap-stacked": partial(self._map_parts, map_part_stacked),
        }
        return styles if kind is Kind.TINY else {**styles, "auto": self._map_auto}

    def forms(self, load: Load) -> list[Form]:
        """The memmap where an array goes in, stacked results where they can be."""
        names = ["chunks"]
        if load.kind is Kind.HEAVY:
            names += ["stacked"] * load.is_stacked
            names += ["memmap"] * (load.block is not None)
            names += ["memmap-stacked"] * (load.block is not None and load.is_stacked)
        forms = [Form(name, size) for name in names for size in load.sizes]
        return [*forms, Form("auto")] if load.kind is Kind.BUSY else forms

    def one(self, function: Function, item: Any) -> Any:
        """A call of `Parallel` with one item."""
        return self._parallel([self._joblib.delayed(function)(item)])[0]

    def _map_auto(self, task: Task, size: int) -> Results:
        return self._parallel(self._joblib.delayed(task.function)(item) for item in task.items)

    def _map_chunks(self, work: Callable[..., Any], task: Task, size: int) -> Results:
        delayed = self._joblib.delayed(work)
        return join(self._parallel(delayed(task.function, chunk) for chunk in cut(task.items, size)))

    def _map_parts(self, work: Callable[..., Any], task: Task, size: int) -> Results:
        delayed = self._joblib.delayed(work)
        parts = bounds(len(task.items), size)
        return join(self._parallel(delayed(task.function, task.items, *part) for part in parts))


class Mpire(Chunking):
    """mpire; where much goes in also with `shared_objects`, which new workers inherit by fork at each call."""

    is_slow = True

    def __init__(self) -> None:
        import mpire

        self._mpire = mpire

    def open(self) -> None:
        """It starts its workers at the first call."""
        self._pool = self._mpire.WorkerPool(WORKERS, keep_alive=True)

    def close(self) -> None:
        """End them."""
        self._pool.terminate()

    def styles(self, kind: Kind) -> dict[str, Style]:
        """Those of all pools, and the inherited items."""
        inherited: dict[str, Style] = {
            "inherited": partial(self._map_inherited, _map_inherited),
            "inherited-stacked": partial(self._map_inherited, _map_inherited_stacked),
        }
        return {**super().styles(kind), **inherited}

    def forms(self, load: Load) -> list[Form]:
        """Inherited items where there is much to carry."""
        if load.kind is not Kind.HEAVY:
            return super().forms(load)
        names = ["inherited-stacked"] * load.is_stacked + ["inherited"]
        return [Form(name, size) for name in names for size in load.sizes] + super().forms(load)

    def call(self, function: Function, items: Any, chunksize: int) -> list[Any]:
        """`WorkerPool.map`; tuples of arguments, for it would unpack a list."""
        results: list[Any] = self._pool.map(
            function, [(item,) for item in items], chunk_size=chunksize, concatenate_numpy_output=False
        )
        return results

    def one(self, function: Function, item: Any) -> Any:
        """`WorkerPool.apply`."""
        return self._pool.apply(function, (item,))

    def _map_inherited(self, work: Callable[..., Any], task: Task, size: int) -> Results:
        shared = (task.function, task.items)
        with self._mpire.WorkerPool(WORKERS, shared_objects=shared, start_method="fork") as pool:
            return join(pool.map(work, bounds(len(task.items), size), chunk_size=1, concatenate_numpy_output=False))


class Pebble(Chunking):
    """pebble's ProcessPool."""

    is_slow = True

    def __init__(self) -> None:
        import pebble

        self._pebble = pebble

    def open(self) -> None:
        """It starts its workers at the first call."""
        self._pool = self._pebble.ProcessPool(max_workers=WORKERS)

    def close(self) -> None:
        """End them."""
        self._pool.stop()
        self._pool.join()

    def call(self, function: Function, items: Any, chunksize: int) -> list[Any]:
        """`ProcessPool.map`."""
        return list(self._pool.map(function, items, chunksize=chunksize).result())

    def one(self, function: Function, item: Any) -> Any:
        """A future."""
        return self._pool.schedule(function, args=[item]).result()


class Pathos(Chunking):
    """pathos' ProcessPool; dill pickles a list item by item in Python, so a million items go pickled by hand."""

    is_slow = True

    def __init__(self) -> None:
        from pathos import multiprocessing

        self._pathos = multiprocessing

    def open(self) -> None:
        """Start the workers."""
        self._pool = self._pathos.ProcessPool(nodes=WORKERS)

    def close(self) -> None:
        """End them."""
        self._pool.terminate()
        self._pool.clear()

    def styles(self, kind: Kind) -> dict[str, Style]:
        """Those of all pools, and chunks pickled by hand."""
        return {**super().styles(kind), "pickled": self._map_pickled}

    def forms(self, load: Load) -> list[Form]:
        """Pickled by hand where there are many items."""
        pickled = [Form("pickled", size) for size in load.sizes]
        return pickled if load.kind is Kind.TINY else super().forms(load)

    def call(self, function: Function, items: Any, chunksize: int) -> list[Any]:
        """`ProcessPool.map`."""
        return list(self._pool.map(function, items, chunksize=chunksize))

    def _map_pickled(self, task: Task, size: int) -> Results:
        chunks = [pickle.dumps(chunk, 5) for chunk in cut(task.items, size)]
        return join(map(pickle.loads, self.call(partial(map_pickled, task.function), chunks, 1)))

    def one(self, function: Function, item: Any) -> Any:
        """`ProcessPool.pipe`."""
        return self._pool.pipe(function, item)


def _map_inherited(shared: tuple[Function, Any], start: int, stop: int) -> list[Any]:
    return map_part(*shared, start, stop)


def _map_inherited_stacked(shared: tuple[Function, Any], start: int, stop: int) -> Any:
    return map_part_stacked(*shared, start, stop)
