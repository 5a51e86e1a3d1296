"""The peers: each runs a workload and returns its list of results, warm, at the best chunk size given."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import pocketflex as pf

from .workloads import Workload

Runner = Callable[[Workload, int], list[Any]]
WORKERS = 2


def run_serial(workload: Workload, chunksize: int) -> list[Any]:
    """The list comprehension that everything else is measured against."""
    function = workload.function
    return [function(item) for item in workload.items]


def run_pocketflex(workload: Workload, chunksize: int) -> list[Any]:
    """pocketflex, untuned: it sizes chunks by itself."""
    return pf.parallel_map(workload.function, workload.items, max_workers=WORKERS)


@contextmanager
def open_peers() -> Iterator[dict[str, Runner]]:
    """All peers that are installed, with warm pools of the same size."""
    with multiprocessing.Pool(WORKERS) as pool, ProcessPoolExecutor(WORKERS) as executor:
        peers: dict[str, Runner] = {
            "serial": run_serial,
            "pocketflex": run_pocketflex,
            "Pool": lambda work, size: pool.map(work.function, work.items, chunksize=size),
            "ProcessPoolExecutor": lambda work, size: list(executor.map(work.function, work.items, chunksize=size)),
        }
        try:
            import joblib
        except ImportError:
            yield peers
            return
        with joblib.Parallel(n_jobs=WORKERS) as parallel:
            peers["joblib"] = lambda work, size: _run_joblib(joblib, parallel, work, size)
            yield peers


def _run_joblib(joblib: Any, parallel: Any, work: Workload, size: int) -> list[Any]:
    """joblib has no chunk size for plain calls that is as fast as chunks made by hand."""
    chunks = [work.items[at : at + size] for at in range(0, len(work.items), size)]
    parts = parallel(joblib.delayed(_map_chunk)(work.function, chunk) for chunk in chunks)
    return [result for part in parts for result in part]


def _map_chunk(function: Callable[[Any], Any], chunk: Any) -> list[Any]:
    return [function(item) for item in chunk]
