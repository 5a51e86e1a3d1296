"""What of numpy the engine needs to know, without importing it: a job that has no arrays does without."""

from __future__ import annotations

from typing import Any

from ..modules import loaded
from . import native


def is_array(items: Any) -> bool:
    """Whether `items` is exactly an ndarray with rows."""
    numpy = loaded("numpy")
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
    is_plain = is_array(first) and has_plain_rows(first) and first.flags.carray
    return bool(is_plain) and native.alike(values, type(first))


def are_ragged(values: list[Any]) -> bool:
    """As `are_alike`, of arrays whose shapes differ, but not in how many dimensions they have."""
    first = values[0]
    if not is_array(first) or not has_plain_rows(first):
        return False
    kind, dtype, ndim = type(first), first.dtype, first.ndim
    return all(
        type(one) is kind and one.ndim == ndim and (one.dtype is dtype or one.dtype == dtype) and one.flags.carray
        for one in values
    )


def copy_array(array: Any, room: memoryview, at: int) -> None:
    """Copy an ndarray, of any strides, to some bytes of `room`, in C order."""
    import numpy as np

    np.frombuffer(room, array.dtype, array.size, at).reshape(array.shape)[...] = array
