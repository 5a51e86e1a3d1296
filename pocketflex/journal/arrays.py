"""Arrays and numpy scalars of plain dtypes, as .npy files that are read with nothing pickled in them.

numpy's own functions write and read the header; it is the same for all arrays of one dtype and shape, and
making it costs more than writing a small array, so headers are kept.
"""

from __future__ import annotations

import io
from functools import lru_cache
from math import prod
from typing import Any

from ..modules import loaded

_KINDS = "biufcmM"  # scalars that a 0-dimensional array gives back as they were


def dump_array(value: Any) -> tuple[bytes, bytes, Any] | None:
    """The tag of an array or a scalar, and head and data of its .npy file.

    None for anything else, and where reading it would not give the same thing: objects, subclasses, metadata, and
    types that are another type of the same size under another name, such as `longlong`.
    """
    np = loaded("numpy")  # where nobody imported it there is no value of it
    if np is None:
        return None
    is_scalar = isinstance(value, np.generic)
    if not (type(value) is np.ndarray or (is_scalar and (value.dtype.kind in _KINDS or _is_kept(value)))):
        return None
    given = np.asarray(value)
    kind = given.dtype
    is_fortran = given.flags.f_contiguous and not given.flags.c_contiguous
    header = None if kind.hasobject or kind.metadata else _header(kind, kind.char, given.shape, is_fortran)
    if header is None or (is_scalar and type(value) is not kind.type):
        return None
    flat: Any = np.ascontiguousarray(given.T if is_fortran else given).reshape(-1)
    data = memoryview(flat.view(np.uint8)) if kind.itemsize and kind.kind in "biufc" else flat.tobytes()
    return b"g" if is_scalar else b"A", header, data


def _is_kept(value: Any) -> bool:
    """Whether a text or void scalar survives: an array drops what zero bytes are at the end of a text."""
    import numpy as np

    back = np.asarray(value)[()]
    return type(back) is type(value) and value.dtype.kind in "SU" and bool(back == value)


@lru_cache(256)
def _header(kind: Any, char: str, shape: tuple[int, ...], is_fortran: bool) -> bytes | None:
    import numpy as np

    described: Any = np.lib.format.dtype_to_descr(kind)
    stream = io.BytesIO()
    try:
        again = np.lib.format.descr_to_dtype(described)
        parts = {"descr": described, "fortran_order": is_fortran, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, parts)
    except (TypeError, ValueError):  # a dtype with more than the format can say
        return None
    return stream.getvalue() if again == kind and again.char == char else None


def load_array(data: memoryview) -> Any:
    """The array in a .npy file; it is writable and owns its memory.

    Raises:
        ValueError: The file is not one of plain numbers, or its data have another length than its header says.
    """
    import numpy as np

    end = 10 + int.from_bytes(data[8:10], "little")
    shape, is_fortran, kind = _parsed(bytes(data[:end]))
    body = data[end:]
    if kind.hasobject or min(shape, default=0) < 0 or prod(shape) * kind.itemsize != len(body):
        raise ValueError("the data of an array do not fit its header")
    return np.ndarray(shape, kind, bytearray(body), order="F" if is_fortran else "C").copy(order="K")


@lru_cache(256)
def _parsed(header: bytes) -> tuple[tuple[int, ...], bool, Any]:
    import numpy as np

    stream = io.BytesIO(header)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("not a .npy file of version 1.0")
    shape, is_fortran, kind = np.lib.format.read_array_header_1_0(stream)
    if stream.tell() != len(header):
        raise ValueError("a header with something behind it")
    return shape, is_fortran, kind
