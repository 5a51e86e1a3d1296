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
    if not is_array(first) or not has_plain_rows(first) or {*map(type, values)} != {type(first)}:
        return False
    forms = {(value.dtype, value.shape, value.strides, value.flags.writeable) for value in values}
    return len(forms) == 1 and bool(first.flags.carray)


def copy_array(array: Any, room: memoryview, at: int) -> None:
    """Copy an ndarray, of any strides, to some bytes of `room`, in C order."""
    import numpy as np

    np.frombuffer(room, array.dtype, array.size, at).reshape(array.shape)[...] = array


def copy_arrays(arrays: list[Any], room: memoryview, at: int) -> None:
    """Copy ndarrays that are alike to some bytes of `room`, one behind the other."""
    import numpy as np

    first = arrays[0]
    if first.dtype.kind == "V":  # concatenate would leave out what is between the fields
        arrays = [array.reshape(-1).view("u1") for array in arrays]
        first = arrays[0]
    if first.size:
        flat = np.frombuffer(room, first.dtype, len(arrays) * first.size, at)
        np.concatenate(arrays, out=flat.reshape(len(arrays) * first.shape[0], *first.shape[1:]))
