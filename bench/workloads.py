"""The work: each workload is a function and its items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from time import perf_counter
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Workload:
    """A function and the items that it is called with.

    Attributes:
        name: What it is, for tables.
        function: Called with one item.
        items: A list, or an ndarray whose rows are the items.
        chunksizes: What peers with a fixed chunk size are tried with; the best counts.
    """

    name: str
    function: Callable[[Any], Any]
    items: Any
    chunksizes: tuple[int, ...]


def square(number: int) -> int:
    """One multiplication: all the rest is overhead."""
    return number * number


@cache
def spins() -> int:
    """Loop turns that take 100 us on this machine."""
    turns = 20_000
    begun = perf_counter()
    burn(turns)
    return max(1, int(turns * 100e-6 / (perf_counter() - begun)))


def burn(turns: int) -> int:
    """Plain Python arithmetic, holding the GIL."""
    total = 0
    for number in range(turns):
        total += number * number
    return total


def row_norm(row: Any) -> float:
    """A few passes over a row, in numpy."""
    return float(np.sqrt(np.abs(np.sin(row))).sum())


def row_sum(row: Any) -> float:
    """One pass over a row: as fast as memory can be read."""
    return float(row.sum())


def tiny() -> Workload:
    """A million items of 30 ns each."""
    return Workload("x * x, 1 M ints", square, list(range(1_000_000)), (1_000, 10_000, 50_000))


def small() -> Workload:
    """Twenty thousand items of 100 us each."""
    return Workload("20,000 items of 100 us", burn, [spins()] * 20_000, (1, 10, 100))


def rows(function: Callable[[Any], float] = row_sum) -> Workload:
    """The rows of a 256 MB array."""
    array = np.random.default_rng(0).random((2_000, 16_384))
    return Workload(f"{function.__name__}, 2,000 rows of 256 MB", function, array, (1, 16, 64))


def all_workloads() -> list[Workload]:
    """Every workload, made now."""
    return [tiny(), small(), rows(), rows(row_norm)]
