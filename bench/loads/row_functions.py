"""Functions of the array workloads: of one row, and of a block of rows for who tunes by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.float64]


def reciprocal(number: int) -> np.float64:
    """A number of numpy, as most of its functions return one."""
    return np.float64(1 / number)


def ramp(number: int) -> NDArray[np.int64]:
    """A short array; each has a length of its own."""
    return np.arange(number % 100)


def row_sum(row: Row) -> float:
    """One pass over a row: as fast as memory can be read."""
    return float(row.sum())


def row_root(row: Row) -> Row:
    """A new array of the same size: as fast as memory can be read and written."""
    root: Row = np.sqrt(row)
    return root


def block_sums(rows: Row) -> list[Any]:
    """`row_sum` of many rows in one call of numpy, which lets go of the GIL meanwhile."""
    return list(rows.sum(axis=1).tolist())


def block_roots(rows: Row) -> list[Row]:
    """`row_root` of many rows in one call of numpy."""
    return list(np.sqrt(rows))
