"""Workers are killed at random moments while sums are computed: each sum is exact, and no item runs out of tries.

As dask's Poisson killer. A few seconds in every run; minutes under ``-m soak``.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic
from typing import Any

import numpy as np
import psutil
import pytest

import pocketflex as pf
from pocketflex._engine.by_value import ship_by_value

ship_by_value(sys.modules[__name__])  # workers cannot import this file

OFTEN = 1000  # tries: nobody is to be blamed for what the killer does


class Killer:
    """Kills a worker of this process, one after another, at intervals of a Poisson process."""

    def __init__(self, mean: float, chance: random.Random) -> None:
        self._mean = mean
        self._chance = chance
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.killed = 0

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._chance.expovariate(1 / self._mean)):
            if workers := workers_now():
                with suppress(ProcessLookupError):
                    os.kill(self._chance.choice(workers), signal.SIGKILL)
                    self.killed += 1


def workers_now() -> list[int]:
    with suppress(psutil.NoSuchProcess):
        return [worker.pid for child in psutil.Process().children() for worker in child.children()]
    return []


def busy(item: int) -> int:
    for _ in range(300):
        item ^= item >> 1
    return item


def spread(item: int) -> Any:
    return np.full(5_000, item)


def boxed(item: list[int]) -> list[int]:
    return [item[0], busy(item[0])]


def check_columns(size: int) -> None:
    found = pf.parallel_map(busy, range(size), max_workers=2, crash_retries=OFTEN)
    assert found == [busy(item) for item in range(size)]


def check_arrays(size: int) -> None:
    items = np.arange(size // 10 * 100.0).reshape(-1, 100)
    found = pf.parallel_map(np.sum, items, max_workers=3, crash_retries=OFTEN, output="array")
    np.testing.assert_array_equal(found, items.sum(axis=1))
    rows = pf.parallel_map(spread, range(size // 20), max_workers=2, crash_retries=OFTEN)
    assert [float(row.sum()) for row in rows] == [5_000.0 * item for item in range(size // 20)]


def check_pickled(size: int) -> None:
    found = pf.parallel_map(boxed, [[item] for item in range(size // 4)], max_workers=2, crash_retries=OFTEN)
    assert found == [[item, busy(item)] for item in range(size // 4)]


def check_stream(size: int) -> None:
    def feed() -> Iterator[int]:
        yield from range(size)

    total = 0
    for at, result in enumerate(pf.parallel_imap(busy, feed(), max_workers=2, crash_retries=OFTEN, chunksize=50)):
        assert result == busy(at)
        total += 1
    assert total == size


def check_single(size: int) -> None:
    for item in range(size // 200):
        assert pf.parallel_map(busy, [item], crash_retries=OFTEN) == [busy(item)]


CHECKS = (check_columns, check_arrays, check_pickled, check_stream, check_single)


@pytest.mark.parametrize(
    ("seconds", "mean", "seed"),
    [(4, 0.6, 0), *(pytest.param(60, 1.0, seed, marks=pytest.mark.soak) for seed in (1, 2, 3))],
)
def test_what_is_killed_at_random_costs_nothing(seconds: float, mean: float, seed: int) -> None:
    """A job gives up after 11 deaths that come to nothing within half a second each: workers must get to load numpy."""
    chance = random.Random(seed)
    end = monotonic() + seconds
    pf.parallel_map(busy, range(10), max_workers=2)
    rounds = 0
    with Killer(mean, chance) as killer:
        while monotonic() < end or rounds < len(CHECKS) or not killer.killed:
            CHECKS[rounds % len(CHECKS)](chance.choice([300, 3_000, 20_000]))
            rounds += 1
