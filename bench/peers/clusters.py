"""The clusters, on this machine alone: Ray, Dask. Both are told of 2 CPUs and have no dashboard."""

from __future__ import annotations

import logging
import os
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


class Ray(Peer):
    """Ray: a task a chunk, or all items in its object store and a task a part; never a task an item."""

    def __init__(self) -> None:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns
        import ray

        self._ray = ray

    def open(self) -> None:
        """Start the cluster."""
        self._ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="error")
        work = (map_chunk, map_stacked, map_part, map_part_stacked)
        self._remote: dict[Callable[..., Any], Any] = {one: self._ray.remote(one) for one in work}

    def close(self) -> None:
        """End it."""
        self._ray.shutdown()

    def styles(self, kind: Kind) -> dict[str, Style]:
        """Items in the store, or in the arguments."""
        return {
            "store": partial(self._map_parts, map_part),
            "store-stacked": partial(self._map_parts, map_part_stacked),
            "chunks": partial(self._map_chunks, map_chunk),
            "stacked": partial(self._map_chunks, map_stacked),
        }

    def forms(self, load: Load) -> list[Form]:
        """The store where there is much to carry, stacked results where they can be."""
        names = ["store-stacked", "stacked"] * load.is_stacked + ["chunks"]
        if load.kind is Kind.HEAVY:
            names.insert(0, "store")
        return [Form(name, size) for name in names for size in load.sizes]

    def one(self, function: Function, item: Any) -> Any:
        """A task; the decorated function is made once, as in a program."""
        if function not in self._remote:
            self._remote[function] = self._ray.remote(function)
        return self._ray.get(self._remote[function].remote(item))

    def _map_parts(self, work: Callable[..., Any], task: Task, size: int) -> Results:
        stored, remote = self._ray.put(task.items), self._remote[work]
        parts = bounds(len(task.items), size)
        return join(self._ray.get([remote.remote(task.function, stored, *part) for part in parts]))

    def _map_chunks(self, work: Callable[..., Any], task: Task, size: int) -> Results:
        remote = self._remote[work]
        return join(self._ray.get([remote.remote(task.function, chunk) for chunk in cut(task.items, size)]))


class Dask(Peer):
    """Dask's LocalCluster: a task a chunk, its items in the task or scattered before."""

    def __init__(self) -> None:
        import distributed

        self._distributed = distributed

    def open(self) -> None:
        """Start the cluster: two processes of one thread."""
        self._cluster = self._distributed.LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR
        )
        self._client = self._distributed.Client(self._cluster)

    def close(self) -> None:
        """End it."""
        self._client.close()
        self._cluster.close()

    def styles(self, kind: Kind) -> dict[str, Style]:
        """Items in the tasks, or scattered before."""
        return {
            "chunks": partial(self._map_chunks, map_chunk),
            "pickled": self._map_pickled,
            "scattered": partial(self._map_scattered, map_chunk),
            "scattered-stacked": partial(self._map_scattered, map_stacked),
        }

    def forms(self, load: Load) -> list[Form]:
        """Scattered where there is much to carry, stacked results where they can be.

        It looks into every list that it carries, item by item (20,000 items: 0.6 s), so a million goes pickled by hand.
        """
        heavy = ["scattered-stacked"] * load.is_stacked + ["scattered"]
        names = {Kind.HEAVY: heavy, Kind.TINY: ["pickled"]}.get(load.kind, ["chunks"])
        return [Form(name, size) for name in names for size in load.sizes]

    def one(self, function: Function, item: Any) -> Any:
        """A future; `pure` would take the result from its cache."""
        return self._client.submit(function, item, pure=False).result()

    def _map_chunks(self, work: Callable[..., Any], task: Task, size: int) -> Results:
        futures = self._client.map(partial(work, task.function), cut(task.items, size), pure=False)
        return join(self._client.gather(futures))

    def _map_pickled(self, task: Task, size: int) -> Results:
        chunks = [pickle.dumps(chunk, 5) for chunk in cut(task.items, size)]
        futures = self._client.map(partial(map_pickled, task.function), chunks, pure=False)
        return join(map(pickle.loads, self._client.gather(futures)))

    def _map_scattered(self, work: Callable[..., Any], task: Task, size: int) -> Results:
        chunks = self._client.scatter(cut(task.items, size), hash=False)
        futures = self._client.map(partial(work, task.function), chunks, pure=False)
        return join(self._client.gather(futures))
