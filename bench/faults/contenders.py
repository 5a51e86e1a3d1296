"""The pools, in the form in which the user can get the most results back where one item fails.

That is one future an item where a pool has futures. A package is imported in the cell's own process only.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

WORKERS = 2
Function = Callable[[Any], Any]


class Raised(NamedTuple):
    """In the place of a result: what the item's future raised."""

    error: BaseException


class Contender:
    """A pool of two workers."""

    has_timeout = False  # whether an item can be given a time after which it is stopped

    def run(self, function: Function, items: list[Any], timeout: float | None = None) -> list[Any]:
        """The result of each item, or `Raised`; raises itself where all is lost."""
        raise NotImplementedError


def settle(results: list[Callable[[], Any]]) -> list[Any]:
    """Take the result of each future."""
    found: list[Any] = []
    for result in results:
        try:
            found.append(result())
        except BaseException as error:
            if type(error) is KeyboardInterrupt and not error.args:
                raise  # Ctrl-C; that of an item says so
            found.append(Raised(error))
    return found


def submit_all(submit: Callable[[Any], Callable[[], Any]], items: list[Any]) -> list[Any]:
    """Submit each item, take each result; what cannot be submitted has failed by itself."""
    futures: list[Callable[[], Any]] = []
    for item in items:
        try:
            futures.append(submit(item))
        except Exception as error:
            futures.append(partial(_throw, error))
    return settle(futures)


def _throw(error: BaseException) -> None:
    raise error


class Pocketflex(Contender):
    """`parallel_map` with ``on_error="collect"``."""

    has_timeout = True

    def run(self, function: Function, items: list[Any], timeout: float | None = None) -> list[Any]:
        """One call."""
        import pocketflex as pf

        found = pf.parallel_map(function, items, max_workers=WORKERS, on_error="collect", timeout=timeout)
        return [Raised(one.error) if isinstance(one, pf.Failure) else one for one in found]


class Executor(Contender):
    """`ProcessPoolExecutor` with spawn, and `submit`."""

    def __init__(self) -> None:
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        self._pool = ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn"))

    def run(self, function: Function, items: list[Any], timeout: float | None = None) -> list[Any]:
        """A future an item."""
        return submit_all(lambda item: self._pool.submit(function, item).result, items)


class Pool(Contender):
    """`multiprocessing.Pool` and `apply_async`."""

    def __init__(self) -> None:
        import multiprocessing

        self._pool = multiprocessing.Pool(WORKERS)

    def run(self, function: Function, items: list[Any], timeout: float | None = None) -> list[Any]:
        """An AsyncResult an item."""
        return submit_all(lambda item: self._pool.apply_async(function, (item,)).get, items)


class Joblib(Contender):
    """`joblib.Parallel`, which has no futures."""

    has_timeout = True

    def run(self, function: Function, items: list[Any], timeout: float | None = None) -> list[Any]:
        """One call."""
        import joblib

        parallel = joblib.Parallel(n_jobs=WORKERS, timeout=timeout)
        return list(parallel(joblib.delayed(function)(item) for item in items))


class Mpire(Contender):
    """`mpire.WorkerPool` and `map`."""

    has_timeout = True

    def __init__(self) -> None:
        import mpire

        self._pool = mpire.WorkerPool(WORKERS, keep_alive=True)

    def run(self, function: Function, items: list[Any], timeout: float | None = None) -> list[Any]:
        """One call."""
        arguments = [(item,) for item in items]
        return list(self._pool.map(function, arguments, chunk_size=1, task_timeout=timeout))


class Pebble(Contender):
    """`pebble.ProcessPool` and `schedule`."""

    has_timeout = True

    def __init__(self) -> None:
        import pebble

        self._pool = pebble.ProcessPool(max_workers=WORKERS)

    def run(self, function: Function, items: list[Any], timeout: float | None = None) -> list[Any]:
        """A future an item."""
        return submit_all(lambda item: self._pool.schedule(function, (item,), timeout=timeout).result, items)


class Dask(Contender):
    """Dask's LocalCluster and `submit`."""

    def __init__(self) -> None:
        import distributed

        cluster = distributed.LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
        )
        self._client = distributed.Client(cluster)

    def run(self, function: Function, items: list[Any], timeout: float | None = None) -> list[Any]:
        """A future an item; `pure` would take equal ones from its cache."""
        return submit_all(lambda item: self._client.submit(function, item, pure=False).result, items)


class Ray(Contender):
    """Ray on this machine, a task an item."""

    def __init__(self) -> None:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns
        import ray

        self._ray = ray
        ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="error")

    def run(self, function: Function, items: list[Any], timeout: float | None = None) -> list[Any]:
        """An ObjectRef an item."""
        remote = self._ray.remote(_call)
        return submit_all(lambda item: partial(self._ray.get, remote.remote(function, item)), items)


def _call(function: Function, item: Any) -> Any:
    return function(item)


class Listing(NamedTuple):
    """A pool of the table: its title, what makes it, what must be importable, seconds until it hangs."""

    title: str
    make: type[Contender]
    package: str = ""
    patience: float = 20.0


CONTENDERS = {
    "pocketflex": Listing("pocketflex", Pocketflex),
    "executor": Listing("cf spawn", Executor),
    "pool": Listing("Pool", Pool),
    "joblib": Listing("joblib", Joblib, "joblib"),
    "mpire": Listing("mpire", Mpire, "mpire"),
    "pebble": Listing("pebble", Pebble, "pebble"),
    "dask": Listing("dask", Dask, "distributed", 45.0),
    "ray": Listing("ray", Ray, "ray", 60.0),
}
