"""The pure Python transport: a SOCK_SEQPACKET socketpair for messages, arenas for blocks.

A packet is a pickle of (message, regions released, numbers of new segments); the descriptors of the
new segments travel with it (SCM_RIGHTS), so a reader has the memory before it learns of a region.
Message boundaries are kept by the socket; nothing is ever half read.
"""

from __future__ import annotations

import pickle
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from .blocks import Block, Encoded
from .packets import receive_packet, send_packet
from .shm import Arena, Lens, Region, round_up
from .transport import Load, Message, Parcel, Surroundings

_MOST_RELEASED = 256  # regions in one packet, which has room for a thousand; the others wait for the next


class SocketTransport:
    """One end of a connection; the parent's ends share one arena, a worker has its own."""

    def __init__(self, connection: socket.socket, arena: Arena) -> None:
        self._socket = connection
        self._arena = arena
        self._lens = Lens()
        self._sent: set[int] = set()  # segments that the other side has
        self._lent: set[Region] = set()  # blocks that the other side may still be reading
        self._released: deque[Region] = deque()

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Send a message, the released regions, and the segments that it needs."""
        released = tuple(_drain(self._released))
        regions = list(_regions(message))
        fresh = sorted({region.segment for region in regions} - self._sent)
        packet = pickle.dumps((message, released, fresh), protocol=5)
        if not isinstance(message, Load):  # a callable is read by many; its job frees it
            self._lent.update(regions)
        send_packet(self._socket, packet, [self._arena.descriptor(number) for number in fresh])
        self._sent.update(fresh)

    def receive(self, *, block: bool = True) -> Message | None:
        """Read one packet; frees what the other side has released and maps what it has added."""
        received = receive_packet(self._socket, block=block)
        if received is None:
            return None
        packet, descriptors = received
        message, released, fresh = pickle.loads(packet)
        for number, descriptor in zip(fresh, descriptors, strict=True):
            self._lens.add(number, descriptor)
        for region in released:
            if region in self._lent:
                self._lent.remove(region)
                self._arena.free(region)
        return message  # type: ignore[no-any-return]

    def write(self, encoded: Encoded) -> Block:
        """Copy a block into this side's arena."""
        return write_block(self._arena, encoded)

    def private(self, region: Region) -> Any:
        """A copy-on-write mapping of the other side's region."""
        return self._lens.private(region)

    def memory(self, region: Region) -> Any:
        """The mapping of the other side's segment."""
        return self._lens.source(region)

    def view(self, region: Region) -> memoryview:
        """The bytes of the other side's region."""
        return self._lens.view(region)

    def forget(self, region: Region) -> None:
        """Unmap the other side's region if it is alone."""
        self._lens.forget(region)

    def release(self, region: Region) -> None:
        """Note a region to be handed back with the next message. Safe from any thread."""
        self.forget(region)
        self._released.append(region)

    def close(self) -> None:
        """Close the socket and take back what the other side was lent; what it sent stays readable."""
        self._socket.close()
        while self._lent:
            self._arena.free(self._lent.pop())


def write_block(arena: Arena, encoded: Encoded) -> Block:
    """Copy a block into `arena`.

    Raises:
        OSError: There is not enough memory.
    """
    region = arena.allocate(encoded.nbytes)
    return encoded.write(arena.view(region), region)


def store_parcel(arena: Arena, surroundings: Surroundings, data: bytes, buffers: Sequence[memoryview]) -> Parcel:
    """Copy a pickled callable and its buffers into `arena`.

    The buffers get a segment of their own, which workers map copy-on-write: a large array held by a
    callable is in memory once, and a worker that writes to it changes its own copy.

    Raises:
        OSError: There is not enough memory.
    """
    spans, end = [], 0
    for buffer in buffers:
        spans.append((end, buffer.nbytes))
        end = round_up(end + buffer.nbytes)
    pickled = pickle.dumps((surroundings, spans, data), protocol=5)
    region = arena.allocate(len(pickled))
    arena.view(region)[: len(pickled)] = pickled
    if not buffers:
        return Parcel(region, len(pickled), None)
    shared = arena.allocate(end, alone=True)
    view = arena.view(shared)
    for (offset, nbytes), buffer in zip(spans, buffers, strict=True):
        view[offset : offset + nbytes] = buffer.cast("B")
    return Parcel(region, len(pickled), shared)


def _regions(message: Message) -> Iterator[Region]:
    for part in message:
        if isinstance(part, tuple):
            yield from (field for field in part if isinstance(field, Region))


def _drain(released: deque[Region]) -> Iterator[Region]:
    for _ in range(min(len(released), _MOST_RELEASED)):
        yield released.popleft()
