"""Reading the parent's memory in Python; part of the `twin`: /proc/PID/mem in the place of process_vm_readv."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .twin_words import between, open_bytes, open_words

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def locate(items: list[Any], buffer: WriteableBuffer, at: int, /) -> None:
    """Write the address and the length of each item's bytes."""
    import numpy as np  # which is the one that tells an address without ctypes

    with open_words(buffer, 0) as words:
        if len(items) > (len(words) - between("at", at, 0, len(words))) // 2:
            raise ValueError("the buffer has no room for the places of all items")
        for number, item in enumerate(items):
            octets = np.frombuffer(item, np.uint8)
            words[at + 2 * number] = octets.__array_interface__["data"][0]
            words[at + 2 * number + 1] = octets.nbytes


def admit(pid: int, /) -> None:
    """Nothing: where only who is admitted may read, items are copied."""


def fetch(pid: int, buffer: WriteableBuffer, at: int, count: int, into: WriteableBuffer, /) -> None:
    """Read pieces of another process's memory, one behind the other.

    Raises:
        OSError: They are not there, or may not be read.
    """
    with open_words(buffer, 0) as words, open_bytes(into) as room:
        if room.readonly:
            raise BufferError("the buffer is read-only")
        between("count", count, 0, (len(words) - between("at", at, 0, len(words))) // 2)
        pieces = [(words[at + 2 * number], words[at + 2 * number + 1]) for number in range(count)]
        if min((nbytes for _, nbytes in pieces), default=0) < 0 or sum(nbytes for _, nbytes in pieces) != len(room):
            raise ValueError("the pieces do not fill the room")
        begin = 0
        for address, nbytes in pieces:
            _read(pid, address, room[begin : begin + nbytes])
            begin += nbytes


def fetch_bytes(pid: int, address: int, nbytes: int, /) -> bytes:
    """Bytes of another process's memory.

    Raises:
        OSError: They are not there, or may not be read.
    """
    if nbytes > 0:  # to make the room touches all of it: not for what is not there
        _read(pid, address + nbytes - 1, memoryview(bytearray(1)))
    room = bytearray(nbytes)
    _read(pid, address, memoryview(room))
    return bytes(room)


def _read(pid: int, address: int, room: memoryview) -> None:
    descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        while room:
            got = os.preadv(descriptor, [room], address)
            if not got:
                raise OSError(f"no memory at {address:#x} of process {pid}")
            room, address = room[got:], address + got
    finally:
        os.close(descriptor)
