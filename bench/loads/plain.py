"""Tiny items, busy items, bytes, coroutines: the loads that need no numpy."""

from __future__ import annotations

import zlib
from datetime import date

from ..messages import Setting
from .functions import (
    Entry,
    Point,
    burn,
    identity,
    increment,
    megabyte,
    mirrored,
    nap,
    no_op,
    number_of,
    record,
    reversed_entry,
    square,
    sum_of_squares,
)
from .load import Kind, Load

_BUSY_SKEW = 1000  # the dearest item costs so many times what the cheapest does


def _strings(setting: Setting) -> list[str]:
    return [f"item{number}" for number in range(setting.size(1_000_000, 20_000))]


def _numbers(setting: Setting) -> list[int]:
    return list(range(setting.size(1_000_000, 20_000)))


def _even(setting: Setting) -> list[int]:
    return [setting.turns] * setting.size(20_000, 400)


def _coarse(setting: Setting) -> list[int]:
    return [setting.turns * 500] * setting.size(80, 8)


def _skewed(setting: Setting) -> list[int]:
    """Costs that grow geometrically by 1:1000, the dearest last; 4 s in all.

    The sum of the costs is that of the cheapest times n * 999 / ln(1000), about 145 n.
    """
    count = setting.size(1_000, 50)
    cheapest = setting.turns * (4e6 if not setting.is_quick else 0.1e6) / 100 / (144.6 * count)
    return [max(1, int(cheapest * _BUSY_SKEW ** (number / (count - 1)))) for number in range(count)]


def _megabytes(setting: Setting) -> list[bytes]:
    return [megabyte(number) for number in range(setting.size(500, 10))]


TINY_STRINGS = Load(str.upper, _strings, Kind.TINY, (20_000, 125_000))
TINY_NUMBERS = Load(square, _numbers, Kind.TINY, (20_000, 125_000))
EVEN = Load(burn, _even, Kind.BUSY, (25, 250), sum_of_squares, pilot_step=4)
SKEWED = Load(burn, _skewed, Kind.BUSY, (1, 8), sum_of_squares, pilot_step=4)
COARSE = Load(burn, _coarse, Kind.BUSY, (1,), sum_of_squares, pilot_step=4)
BYTES_IN = Load(zlib.crc32, _megabytes, Kind.HEAVY, (8, 64))
BYTES_OUT = Load(megabyte, lambda setting: list(range(setting.size(500, 10))), Kind.HEAVY, (4, 32))
RECORDS_OUT = Load(record, lambda setting: list(range(setting.size(200_000, 4_000))), Kind.TINY, (4_000, 25_000))
RECORDS_IN = Load(
    number_of, lambda setting: list(map(record, range(setting.size(200_000, 4_000)))), Kind.TINY, (4_000, 25_000)
)
OBJECTS = Load(
    mirrored,
    lambda setting: [Point(number, 0.5) for number in range(setting.size(100_000, 2_000))],
    Kind.TINY,
    (2_000, 12_500),
)
ENTRIES = Load(
    reversed_entry,
    lambda setting: [
        Entry(date.fromordinal(730_000 + number % 7_000), frozenset({"a", "b"}), number / 8)
        for number in range(setting.size(100_000, 2_000))
    ],
    Kind.TINY,
    (2_000, 12_500),
)
ONE = Load(increment, lambda setting: [1], Kind.SINGLE)
NO_OPS = Load(no_op, lambda setting: list(range(setting.size(200_000, 2_000))), Kind.AWAITED, (1000,), identity)
MANY_NO_OPS = Load(no_op, lambda setting: list(range(setting.size(1_000_000, 5_000))), Kind.AWAITED, (1000,), identity)
NAPS = Load(nap, lambda setting: list(range(setting.size(10_000, 2_000))), Kind.AWAITED, (1000,), identity)
