"""The transport: a SOCK_SEQPACKET socketpair.

A packet is a pickle of (messages, numbers of new segments); the descriptors of the new segments
travel with it (SCM_RIGHTS), so a reader has the memory before it learns of a region. A ring is the
shortest packet there is. Message boundaries are kept by the socket; nothing is ever half read.
"""

from __future__ import annotations

import errno
import os
import pickle
import select
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from .lens import Lens
from .packets import receive_packet, send_packet
from .shm import Arena
from .transport import Forget, Message, Ring

_RING = b"\0"
_FEW = 32  # descriptors in one packet, which has room for 64


class SocketTransport:
    """One end of a connection; the parent's ends share one arena, a worker has its own."""

    def __init__(
        self, connection: socket.socket, arena: Arena, *, may_block: bool = True, note: Callable[[], None] | None = None
    ) -> None:
        """Use `connection`.

        Args:
            connection: This end's socket.
            arena: This side's memory.
            may_block: Whether to wait for room; else the other side is overrun.
            note: Called when a packet has been sent.
        """
        self._may_block = may_block
        self._note = note
        self.is_overrun = False  # has not read for so long that a message is lost
        self.arena = arena
        self.lens = Lens()
        self._socket = connection
        self._inbox: deque[Message] = deque()
        self._failure: OSError | None = None  # of mapping what was introduced
        self._sent: set[int] = set()  # segments that the other side has

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Send a message."""
        if isinstance(message, Ring):
            self._send_packet(_RING)
        elif not isinstance(message, Forget):
            self._send((message,), ())
        elif message.segment in self._sent:
            self._sent.remove(message.segment)
            self._send((message,), ())

    def introduce(self, *segments: int) -> None:
        """Send the descriptors of segments that the other side does not have."""
        fresh = [number for number in segments if number not in self._sent]
        for at in range(0, len(fresh), _FEW):
            self._send((), fresh[at : at + _FEW])

    def receive(self, *, block: bool = True) -> Message | None:
        """Read one message; maps what the other side introduces."""
        while not self._inbox:
            if not self._pull(block=block):
                return None
        return self._inbox.popleft()

    def is_ready(self, seconds: float) -> bool:
        """Wait for something to receive, for so long at the most; whether there is."""
        poll = select.poll()  # not select, which knows no descriptor above 1023
        poll.register(self._socket, select.POLLIN)
        return bool(self._inbox) or bool(poll.poll(int(seconds * 1000)))

    def memory(self, segment: int) -> Any:
        """The mapping of the other side's segment; what introduces it may still wait to be received."""
        while not self.lens.knows(segment):
            if not self._pull(block=False):
                raise self._failure or AssertionError(f"segment {segment} was not introduced")
        return self.lens.source(segment)

    def _pull(self, *, block: bool) -> bool:
        received = receive_packet(self._socket, block=block)
        if received is None:
            return False
        packet, descriptors = received
        messages, fresh = ([Ring()], ()) if packet == _RING else pickle.loads(packet)
        self._map(fresh, descriptors)
        self._inbox.extend(messages)
        return True

    def _send_packet(self, packet: bytes, descriptors: Sequence[int] = ()) -> None:
        try:
            send_packet(self._socket, packet, descriptors, block=self._may_block)
        except BlockingIOError:
            self.is_overrun = True
        if self._note is not None:
            self._note()

    def _map(self, fresh: Sequence[int], descriptors: list[int]) -> None:
        """Map new segments; the kernel gives fewer descriptors than were sent where there is no room for them."""
        try:
            if len(descriptors) < len(fresh):
                raise OSError(errno.EMFILE, "no descriptor is left for memory of a worker")
            for number in fresh:
                self.lens.add(number, descriptors.pop(0))
        except OSError as error:
            self._failure = error
            raise
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def close(self) -> None:
        """Close the socket; what the other side sent stays readable."""
        self._socket.close()

    def _send(self, messages: Sequence[Message], fresh: Sequence[int]) -> None:
        packet = pickle.dumps((messages, fresh), protocol=5)
        self._send_packet(packet, [self.arena.descriptor(number) for number in fresh])
        self._sent.update(fresh)
