"""The transport: a SOCK_SEQPACKET socketpair.

A packet is a pickle of (messages, numbers of new segments); the descriptors of the new segments
travel with it (SCM_RIGHTS), so a reader has the memory before it learns of a region. A ring is the
shortest packet there is. Message boundaries are kept by the socket; nothing is ever half read.

The parent never waits for room: what a worker that has been in an item for long cannot take is owed to
it, in order, until it says that it has read what there was.
"""

from __future__ import annotations

import errno
import os
import pickle
import select
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from .launch import open_ends
from .lens import Lens
from .packets import receive_packet, send_packet
from .shm import Arena
from .transport import Drained, Forget, Message, Ring

_RING = b"\0"
_FEW = 32  # descriptors in one packet, which has room for 64
_MANY = 8  # packets that a socket has room for at least


class SocketTransport:
    """One end of a connection; the parent's ends share one arena, a worker has its own."""

    def __init__(
        self, connection: socket.socket, arena: Arena, *, may_block: bool = True, note: Callable[[], None] | None = None
    ) -> None:
        """Use `connection`.

        Args:
            connection: This end's socket.
            arena: This side's memory.
            may_block: Whether to wait for room; else what has none is owed.
            note: Called when a packet has been sent.
        """
        self._may_block = may_block
        self._note = note
        self.arena = arena
        self.lens = Lens()
        self._socket = connection
        self._inbox: deque[Message] = deque()
        self._failure: OSError | None = None  # of mapping what was introduced
        self._sent: set[int] = set()  # segments that the other side has, or is owed
        self._owed: deque[Message | int] = deque()  # messages, and segments to introduce
        self._read = 0  # packets since there were none

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Send a message."""
        if isinstance(message, Ring):
            self._send_packet(_RING)  # where there is no room, what is there wakes the other side as well
        elif not isinstance(message, Forget):
            self._owed.append(message)
            self.flush()
        elif message.segment in self._sent:
            self._sent.remove(message.segment)
            if message.segment in self._owed:
                self._owed.remove(message.segment)
            else:
                self._owed.append(message)
            self.flush()

    def introduce(self, *segments: int) -> None:
        """Send the descriptors of segments that the other side does not have."""
        fresh = [number for number in segments if number not in self._sent]
        if fresh:
            self._sent.update(fresh)
            self._owed.extend(fresh)
            self.flush()

    def flush(self) -> bool:
        """Send what is owed, as far as there is room; whether there was anything."""
        was_owed = bool(self._owed)
        while self._owed:
            fresh = self._next_segments()
            messages = [] if fresh else [self._owed[0]]
            known = [
                (number, segment) for number in fresh if (segment := self.arena.find(number))
            ]  # it stays until then
            packet = pickle.dumps((messages, [number for number, _ in known]), protocol=5)
            if not self._send_packet(packet, [segment.fd for _, segment in known]):
                break
            for _ in messages or fresh:
                self._owed.popleft()
        return was_owed

    def _next_segments(self) -> list[int]:
        """Those to be introduced before the next message is sent, as many as one packet takes."""
        fresh = list[int]()
        for owed in islice(self._owed, _FEW):
            if not isinstance(owed, int):
                break
            fresh.append(owed)
        return fresh

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
        """The mapping of the other side's segment; what introduces it may still wait to be received, or to be sent."""
        while not self.lens.knows(segment):
            if self._pull(block=False):
                continue
            if self._failure or not self._may_block:
                raise self._failure or AssertionError(f"segment {segment} was not introduced")
            self.send(Drained())
            self._pull(block=True)
        return self.lens.source(segment)

    def _pull(self, *, block: bool) -> bool:
        received = receive_packet(self._socket, block=block)
        if received is None:
            if self._may_block and self._read >= _MANY:
                self.send(Drained())
            self._read = 0
            return False
        self._read += 1
        packet, descriptors = received
        messages, fresh = ([Ring()], ()) if packet == _RING else pickle.loads(packet)
        self._map(fresh, descriptors)
        self._inbox.extend(messages)
        return True

    def _send_packet(self, packet: bytes, descriptors: Sequence[int] = ()) -> bool:
        try:
            send_packet(self._socket, packet, descriptors, block=self._may_block)
        except BlockingIOError:
            return False
        if self._note is not None:
            self._note()
        return True

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

    def part(self) -> None:
        """In a forked child: have a connection whose other end is closed, under the same descriptor."""
        with suppress(OSError):
            ours, theirs = open_ends()
            os.dup2(ours, self._socket.fileno(), inheritable=False)
            os.close(ours)
            os.close(theirs)

    def close(self) -> None:
        """Close the socket; what the other side sent stays readable."""
        self._socket.close()
