"""Packets between processes: whole messages over a socketpair, with file descriptors on board."""

from __future__ import annotations

import socket
from array import array
from collections.abc import Sequence

from .launch import open_ends

_LARGEST = 1 << 16  # bytes; messages say where data is, most are a few hundred long
_MOST_DESCRIPTORS = 64  # arenas double their segments, so one packet seldom needs even one


class Disconnected(Exception):
    """The other side is gone, and everything it sent has been read."""


def open_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends that keep message boundaries: nothing is ever half read."""
    first, second = open_ends()
    ends = socket.socket(fileno=first), socket.socket(fileno=second)
    for end in ends:
        end.setblocking(True)  # whatever socket.setdefaulttimeout says
    return ends


def send_packet(connection: socket.socket, data: bytes, descriptors: Sequence[int] = (), *, block: bool = True) -> None:
    """Send `data` and copies of `descriptors` as one packet.

    Raises:
        Disconnected: The other side is gone.
        BlockingIOError: There is no room for it, and `block` is False.
    """
    flags = 0 if block else socket.MSG_DONTWAIT
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
    try:
        connection.sendmsg((data,), rights, flags)
    except ConnectionError as error:
        raise Disconnected from error


def receive_packet(connection: socket.socket, *, block: bool) -> tuple[bytes, list[int]] | None:
    """The next packet and the descriptors that came with it; None if there is none and `block` is False.

    Raises:
        Disconnected: The other side is gone.
    """
    # not socket.recv_fds, which drops its flags
    flags = socket.MSG_CMSG_CLOEXEC | (0 if block else socket.MSG_DONTWAIT)
    try:
        data, ancillary, received, _ = connection.recvmsg(_LARGEST, socket.CMSG_LEN(4 * _MOST_DESCRIPTORS), flags)
    except BlockingIOError:
        return None
    except ConnectionError as error:
        raise Disconnected from error
    if received & socket.MSG_TRUNC:
        raise AssertionError(f"a packet is longer than {_LARGEST} bytes")
    descriptors = array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) // 4 * 4])
    if not data:
        raise Disconnected
    return data, list(descriptors)
