"""Columns in Python; part of the `twin`: what the standard library does to many items at once, in bytes."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from itertools import accumulate, pairwise
from operator import le
from typing import TYPE_CHECKING, Any

from .twin_words import between, int64, open_bytes

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_INT64, _FLOAT64, _ASCII, _UTF8, _BYTES, _NONE, _BOOL = range(1, 8)
_WIDTHS = {_INT64: 8, _FLOAT64: 8, _NONE: 0, _BOOL: 1}
LIMIT = 1 << 32  # a column's ends are 32 bits wide
_NOT_COLUMNAR = 0, b""
_INCONSISTENT = "the bytes are no column of that kind and length"


def encode(items: list[Any], start: int, stop: int, buffer: WriteableBuffer, offset: int, /) -> tuple[int, int]:
    """Write items[start:stop] as a column: (kind, bytes), (0, 0) if they are none, (-1, 0) if there is no room."""
    with _room(buffer, offset) as room:
        if room.readonly:
            raise BufferError("the buffer is read-only")
        kind, octets = _encode(_slice(items, int64(start), int64(stop)))
        if len(octets) > len(room):
            return -1, 0
        room[: len(octets)] = octets
        return kind, len(octets)


def _slice(items: list[Any], start: int, stop: int) -> list[Any]:
    if type(items) is not list:
        raise TypeError("items must be a list, and no subclass")
    if not 0 <= start <= stop <= len(items):
        raise ValueError(f"a list of {len(items)} items has no slice {start}:{stop}")
    return items[start:stop]


def _encode(part: list[Any]) -> tuple[int, bytes]:
    types = set(map(type, part))
    encode_part = _ENCODERS.get(types.pop()) if len(types) == 1 else None
    kind, octets = encode_part(part) if encode_part else _NOT_COLUMNAR
    return (kind, octets) if len(octets) < LIMIT else _NOT_COLUMNAR


def _room(buffer: ReadableBuffer, offset: int) -> memoryview:
    """A buffer's bytes from an offset on; to be released by the caller."""
    with open_bytes(buffer) as octets:
        if between("offset", offset, 0, len(octets)) % 8:
            raise ValueError(f"offset is {offset}, not a multiple of 8")
        return octets[offset:]


def _encode_ints(part: list[int]) -> tuple[int, bytes]:
    try:
        return _INT64, array("q", part).tobytes()
    except OverflowError:
        return _NOT_COLUMNAR


def _encode_strings(part: list[str]) -> tuple[int, bytes]:
    text = "".join(part)
    if text.isascii():
        return _encode_text(_ASCII, part, text.encode())
    try:
        encoded = [item.encode() for item in part]
    except UnicodeEncodeError:  # a lone surrogate
        return _NOT_COLUMNAR
    return _encode_text(_UTF8, encoded, b"".join(encoded))


def _encode_text(kind: int, part: list[str] | list[bytes], octets: bytes) -> tuple[int, bytes]:
    if 4 * len(part) + len(octets) >= LIMIT:
        return _NOT_COLUMNAR
    return kind, array("I", accumulate(map(len, part))).tobytes() + octets


_ENCODERS: dict[type, Callable[[list[Any]], tuple[int, bytes]]] = {
    int: _encode_ints,
    float: lambda part: (_FLOAT64, array("d", part).tobytes()),
    str: _encode_strings,
    bytes: lambda part: _encode_text(_BYTES, part, b"".join(part)),
    type(None): lambda part: (_NONE, b""),
    bool: lambda part: (_BOOL, bytes(part)),
}


def decode(
    kind: int, buffer: ReadableBuffer, offset: int, nbytes: int, count: int, items: list[Any], at: int, /
) -> None:
    """Read a column into items[at:at + count].

    Raises:
        ValueError: The bytes are no column of that kind and length, or the list is too short.
    """
    if type(items) is not list:
        raise TypeError("list must be a list, and no subclass")
    if not 0 <= int64(at) <= len(items) - int64(count):  # first: what is too long for the list may be for any
        raise ValueError(f"a list of {len(items)} items has no room for {count} from {at} on")
    items[at : at + count] = _decode(kind, buffer, offset, nbytes, count)


def _decode(kind: int, buffer: ReadableBuffer, offset: int, nbytes: int, count: int) -> list[Any]:
    int64(kind), int64(count)
    with _room(buffer, offset) as room, room[: between("nbytes", nbytes, 0, len(room))] as column:
        width = _WIDTHS.get(kind, -1)
        fits = nbytes == width * count if width >= 0 else nbytes >= 4 * count
        if kind not in range(1, 8) or not 0 <= count < LIMIT or nbytes >= LIMIT or not fits:
            raise ValueError(_INCONSISTENT)
        if kind in (_INT64, _FLOAT64):
            return array("q" if kind == _INT64 else "d", bytes(column)).tolist()
        if kind == _NONE:
            return [None] * count
        return _decode_bools(bytes(column)) if kind == _BOOL else _decode_text(kind, bytes(column), count)


def _decode_bools(column: bytes) -> list[Any]:
    if column.translate(None, b"\0\1"):
        raise ValueError(_INCONSISTENT)
    return list(map(bool, column))


def _decode_text(kind: int, column: bytes, count: int) -> list[Any]:
    ends = [0, *array("I", column[: 4 * count])]
    octets = column[4 * count :]
    if ends[-1] != len(octets) or not all(map(le, ends, ends[1:])):
        raise ValueError(_INCONSISTENT)
    if kind == _ASCII:
        text = octets.decode("ascii")
        return [text[begin:end] for begin, end in pairwise(ends)]
    parts = [octets[begin:end] for begin, end in pairwise(ends)]
    return parts if kind == _BYTES else [part.decode() for part in parts]
