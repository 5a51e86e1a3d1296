"""The loads of float64 arrays, 256 MB each."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..messages import Setting
from .load import Kind, Load
from .row_functions import block_roots, block_sums, ramp, reciprocal, row_root, row_sum

_COLUMNS = 1_024
_ITEMS_OF_128_KB = 16_384


def _rows(setting: Setting) -> Any:
    """32,768 rows of 1,024: a row is 8 KB."""
    rows = setting.size(32_768, 512)
    return np.arange(rows * _COLUMNS, dtype=np.float64).reshape(rows, _COLUMNS)


def _arrays(setting: Setting) -> list[Any]:
    """2,000 arrays of 128 KB, each with memory of its own."""
    return [np.full(_ITEMS_OF_128_KB, float(number)) for number in range(setting.size(2_000, 40))]


NUMBERS_OUT = Load(reciprocal, lambda setting: list(range(1, setting.size(200_000, 4_000))), Kind.TINY, (4_000, 25_000))
RAMPS_OUT = Load(ramp, lambda setting: list(range(setting.size(50_000, 1_000))), Kind.TINY, (1_000, 6_250))
ROW_SUMS = Load(row_sum, _rows, Kind.HEAVY, (512, 4_096), block=block_sums)
ROW_ROOTS = Load(row_root, _rows, Kind.HEAVY, (512, 4_096), block=block_roots, is_stacked=True)
ARRAYS = Load(row_root, _arrays, Kind.HEAVY, (16, 128), is_stacked=True)
