"""The data format: values to bytes, and back by reading.py, of the same type and without code that could run.

    value   = tag byte, body
    N T F   None, True, False          i q   int: 8 bytes, or length and bytes
    f c     float, complex             s b   str, bytes: length and bytes
    t l S Z tuple, list, set, frozenset: length and values (those of sets sorted by their bytes)
    d       dict: length, keys and values in turn
    I E     list, tuple of ints of 64 bits   R Q   list, tuple of floats: length and 8 bytes each
    A g     ndarray, numpy scalar: length and a .npy file
    o       something else, of which only a digest is wanted: length and bytes that are never read back

Numbers are little-endian, lengths have 4 bytes. Only exact types: of a subclass nothing is known. The
same value gives the same bytes in every process, so digests are made of them too. What is shared within a
value comes back as copies.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable
from typing import Any

from .arrays import dump_array

DEPTH = 100  # levels of nesting: far below where Python's own stack ends, in writing and in reading
_MOST = (1 << 31) - 1  # bytes of one value
_BUDGET = 5_000_000  # containers within one value: [a, a] in [b, b] in ... is exponential, and ends here in seconds
_INT = struct.Struct("<cq")
_FLOAT = struct.Struct("<cd")
_COMPLEX = struct.Struct("<cdd")
_TAGGED = struct.Struct("<cI")
_COLUMNS: dict[tuple[type, type], tuple[bytes, str]] = {
    (list, int): (b"I", "q"),
    (tuple, int): (b"E", "q"),
    (list, float): (b"R", "d"),
    (tuple, float): (b"Q", "d"),
}
_LEAST = 4  # values: what is shorter is not worth the look at its types

Other = Callable[[Any, int], bytes]


class Unheld(Exception):
    """The data format has no place for a value; the argument says for which."""


def encode(value: Any, other: Other | None = None, depth: int = DEPTH, before: bytes = b"") -> bytearray:
    """The bytes of `value`.

    Args:
        value: Anything.
        other: Gives the bytes that stand for a value without a form, and is told how deep it may go on.
        depth: Levels of nesting that are allowed.
        before: What the bytes are to begin with.

    Raises:
        Unheld: It has no form, is nested too deep, is too long or refers to itself.
    """
    writer = Writer(other, before)
    writer.put(value, depth)
    return writer.out


def encode_pieces(value: Any, before: bytes) -> list[Any]:
    """The same bytes behind `before`, in pieces: the data of an array are not copied.

    Raises:
        Unheld: The value has no form.
    """
    dumped = dump_array(value)
    if dumped is None or len(dumped[2]) > _MOST - 1000:
        return [encode(value, before=before)]
    tag, header, data = dumped
    return [before + _TAGGED.pack(tag, len(header) + len(data)) + header, data]


class Writer:
    """Appends values to `out`."""

    def __init__(self, other: Other | None, before: bytes) -> None:
        self.out = bytearray(before)
        self._other = other
        self._budget = _BUDGET

    def put(self, value: Any, depth: int) -> None:
        """Append one value."""
        write = _WRITERS.get(type(value))
        if write is None:
            self._put_other(value, depth)
        else:
            write(self, value, depth)

    def put_int(self, value: int, depth: int) -> None:
        try:
            self.out += _INT.pack(b"i", value)
        except struct.error:
            self._put_bytes(b"q", value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))

    def put_str(self, value: str, depth: int) -> None:
        self._put_bytes(b"s", value.encode("utf-8", "surrogatepass"))

    def put_sequence(self, value: Any, depth: int) -> None:
        """A list or tuple; numbers of one type as a column."""
        if len(value) >= _LEAST and type(value[0]) in (int, float) and len(kinds := set(map(type, value))) == 1:
            tag, code = _COLUMNS[type(value), kinds.pop()]
            try:
                self._put_bytes(tag, little(array(code, value)).tobytes())
                return
            except OverflowError:  # ints of more than 64 bits
                pass
        self._begin(b"l" if type(value) is list else b"t", value, depth)
        for entry in value:
            self.put(entry, depth - 1)

    def put_set(self, value: Any, depth: int) -> None:
        self._begin(b"S" if type(value) is set else b"Z", value, depth)
        for part in sorted(bytes(encode(entry, self._other, depth - 1)) for entry in value):
            self.out += part

    def put_dict(self, value: dict[Any, Any], depth: int) -> None:
        self._begin(b"d", value, depth)
        for key, entry in value.items():
            self.put(key, depth - 1)
            self.put(entry, depth - 1)

    def _put_other(self, value: Any, depth: int) -> None:
        if (dumped := dump_array(value)) is not None:
            self._put_bytes(*dumped)
            return
        if self._other is None or depth <= 0:
            raise Unheld(type(value).__qualname__)
        self._put_bytes(b"o", self._other(value, depth - 1))

    def _begin(self, tag: bytes, value: Any, depth: int) -> None:
        self._budget -= 1
        if depth <= 0 or self._budget <= 0 or len(self.out) > _MOST:
            raise Unheld(f"{type(value).__qualname__} that is nested too deep or is too long")
        self.out += _TAGGED.pack(tag, len(value))

    def _put_bytes(self, tag: bytes, data: Any, more: Any = b"") -> None:
        length = len(data) + len(more)
        if length > _MOST - len(self.out):
            raise Unheld("value of more than 2 GB")
        self.out += _TAGGED.pack(tag, length)
        self.out += data
        if more:
            self.out += more


def little(column: array[Any]) -> array[Any]:
    """A column with its bytes in the order of the format, or back."""
    if sys.byteorder == "big":
        column.byteswap()
    return column


_WRITERS: dict[type, Callable[[Writer, Any, int], object]] = {
    type(None): lambda writer, value, depth: writer.out.append(ord("N")),
    bool: lambda writer, value, depth: writer.out.append(ord("T" if value else "F")),
    int: Writer.put_int,
    float: lambda writer, value, depth: writer.out.extend(_FLOAT.pack(b"f", value)),
    complex: lambda writer, value, depth: writer.out.extend(_COMPLEX.pack(b"c", value.real, value.imag)),
    str: Writer.put_str,
    bytes: lambda writer, value, depth: writer._put_bytes(b"b", value),
    list: Writer.put_sequence,
    tuple: Writer.put_sequence,
    set: Writer.put_set,
    frozenset: Writer.put_set,
    dict: Writer.put_dict,
}
