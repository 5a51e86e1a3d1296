"""Reads the data format of values.py: any bytes give a value or `Malformed`."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sized
from typing import Any

from .arrays import load_array
from .values import DEPTH, little

_LENGTH = struct.Struct("<I")


class Malformed(Exception):
    """Bytes are not what `encode` writes."""


def decode(data: Any) -> Any:
    """The value that `encode` was given.

    What it costs is bounded by the length of `data`: no length in it is believed before that many bytes are there.

    Raises:
        Malformed: These are not its bytes.
    """
    reader = _Reader(memoryview(data))
    try:
        value = reader.take(DEPTH)
    except Malformed:
        raise
    except Exception as error:  # numpy's reader and the constructors may raise anything
        raise Malformed(f"{type(error).__name__}: {error}") from error
    if reader.at != len(reader.data):
        raise Malformed("more bytes than one value")
    return value


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0

    def take(self, depth: int) -> Any:
        if depth < 0:
            raise Malformed("nested too deep")
        tag = self.data[self.at]
        read = _READERS.get(tag)
        if read is None:
            raise Malformed(f"unknown tag {tag}")
        self.at += 1
        return read(self, depth)

    def fixed(self, form: struct.Struct) -> Any:
        self.at += form.size
        return form.unpack_from(self.data, self.at - form.size)

    def several(self, depth: int, each: int = 1) -> list[Any]:
        (length,) = self.fixed(_LENGTH)
        if length * each > len(self.data) - self.at:  # a value has a byte at the least
            raise Malformed("a length beyond the end")
        return [self.take(depth - 1) for _ in range(length * each)]

    def bytes(self, depth: int = 0) -> memoryview:
        (length,) = self.fixed(_LENGTH)
        if length > len(self.data) - self.at:
            raise Malformed("a length beyond the end")
        self.at += length
        return self.data[self.at - length : self.at]

    def dict(self, depth: int) -> dict[Any, Any]:
        flat = self.several(depth, 2)
        value = dict(zip(flat[::2], flat[1::2], strict=True))
        _check(value, len(flat) // 2)
        return value

    def set(self, kind: Any, depth: int) -> Any:
        entries = self.several(depth)
        value = kind(entries)
        _check(value, len(entries))
        return value

    def column(self, code: str) -> array[Any]:
        column: array[Any] = array(code)
        column.frombytes(self.bytes())
        return little(column)


def _check(value: Sized, length: int) -> None:
    if len(value) != length:
        raise Malformed("the same entry twice")


_EIGHT = struct.Struct("<q")
_DOUBLE = struct.Struct("<d")
_DOUBLES = struct.Struct("<dd")
_READERS: dict[int, Callable[[_Reader, int], Any]] = {
    ord("N"): lambda reader, depth: None,
    ord("T"): lambda reader, depth: True,
    ord("F"): lambda reader, depth: False,
    ord("i"): lambda reader, depth: reader.fixed(_EIGHT)[0],
    ord("q"): lambda reader, depth: int.from_bytes(reader.bytes(), "little", signed=True),
    ord("f"): lambda reader, depth: reader.fixed(_DOUBLE)[0],
    ord("c"): lambda reader, depth: complex(*reader.fixed(_DOUBLES)),
    ord("s"): lambda reader, depth: str(reader.bytes(), "utf-8", "surrogatepass"),
    ord("b"): lambda reader, depth: bytes(reader.bytes()),
    ord("l"): lambda reader, depth: reader.several(depth),
    ord("t"): lambda reader, depth: tuple(reader.several(depth)),
    ord("S"): lambda reader, depth: reader.set(set, depth),
    ord("Z"): lambda reader, depth: reader.set(frozenset, depth),
    ord("d"): lambda reader, depth: reader.dict(depth),
    ord("I"): lambda reader, depth: reader.column("q").tolist(),
    ord("E"): lambda reader, depth: tuple(reader.column("q")),
    ord("R"): lambda reader, depth: reader.column("d").tolist(),
    ord("Q"): lambda reader, depth: tuple(reader.column("d")),
    ord("A"): lambda reader, depth: load_array(reader.bytes()),
    ord("g"): lambda reader, depth: load_array(reader.bytes())[()],
}
