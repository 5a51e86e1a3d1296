"""What of numpy the engine needs to know, without importing it: a job that has no arrays does without."""

from __future__ import annotations

import sys
from typing import Any


def is_array(items: Any) -> bool:
    """Whether `items` is exactly an ndarray with rows."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(items) is numpy.ndarray and items.ndim > 0


def has_plain_rows(array: Any) -> bool:
    """Whether an ndarray's rows are nothing but their bytes."""
    return not array.dtype.hasobject and array.dtype.itemsize > 0


def are_alike(values: list[Any]) -> bool:
    """Whether all values are exactly ndarrays of one dtype and shape, with plain rows in C order.

    Such arrays are nothing but their bytes, and can be read as views of them. Those that may not be
    written to are left out, as their views would be writable.
    """
    first = values[0]
    if not is_array(first) or not has_plain_rows(first):
        return False
    kind, dtype, shape = type(first), first.dtype, first.shape
    return all(
        type(value) is kind and value.shape == shape and value.dtype == dtype and value.flags.carray
        for value in values
    )  # fmt: skip
