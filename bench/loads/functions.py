"""Functions of the workloads that need no numpy: a cold worker imports this file, so it is light."""

from __future__ import annotations

import asyncio
from datetime import date
from time import perf_counter
from typing import NamedTuple


def square(number: int) -> int:
    """One multiplication: all the rest is overhead."""
    return number * number


def increment(number: int) -> int:
    """Next to nothing."""
    return number + 1


def decrement(number: int) -> int:
    """Next to nothing, in another function."""
    return number - 1


def burn(turns: int) -> int:
    """Plain Python arithmetic, holding the GIL: the sum of the squares below `turns`."""
    total = 0
    for number in range(turns):
        total += number * number
    return total


def sum_of_squares(turns: int) -> int:
    """What `burn` returns, at once."""
    return (turns - 1) * turns * (2 * turns - 1) // 6


def record(number: int) -> dict[str, object]:
    """What a row of a table or a line of a log becomes."""
    return {"number": number, "share": number / 7, "name": "item", "flags": (True, None)}


def number_of(record: dict[str, int]) -> int:
    """One look into a record."""
    return record["number"]


class Point:
    """An object of a class."""

    def __init__(self, x: int, y: float) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    __hash__ = None  # type: ignore[assignment]  # it can be changed


def mirrored(point: Point) -> Point:
    """One object for another."""
    return Point(-point.x, point.y)


class Entry(NamedTuple):
    """A row of a ledger."""

    day: date
    tags: frozenset[str]
    amount: float


def reversed_entry(entry: Entry) -> Entry:
    """One row for another."""
    return Entry(entry.day, entry.tags, -entry.amount)


def megabyte(number: int) -> bytes:
    """1 MB of one byte."""
    return bytes((number & 255,)) * 1_000_000


async def no_op(number: int) -> int:
    """A coroutine that never suspends."""
    return number


async def nap(number: int) -> int:
    """A coroutine that waits for 10 ms."""
    await asyncio.sleep(0.01)
    return number


def identity(number: int) -> int:
    """What `no_op` and `nap` must give."""
    return number


def calibrate(seconds: float = 100e-6) -> int:
    """Turns of `burn` that take so long on this machine: the best of five tries."""
    turns = 20_000
    best = float("inf")
    for _ in range(5):
        begun = perf_counter()
        burn(turns)
        best = min(best, perf_counter() - begun)
    return max(1, int(turns * seconds / best))
