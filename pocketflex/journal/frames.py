"""The journal's file: a head, then frames, one behind the other; only bytes, no file and no meaning.

    head    0  16  magic, with the version of the format
           16   8  nonce: random, so that a frame of another journal does not pass in this one
           24   4  CRC-32 of the 24 bytes before
    frame   0   4  length of its body
            4   4  CRC-32 of its body
            8   4  kind
           12   4  CRC-32 of the 12 bytes before
           16   n  body

Every CRC of a frame begins with the nonce and the frame's offset, so a frame counts only in its own place. A
frame whose head is good and whose body is not is passed over: what it held is computed again. Behind a frame whose
head is not good nothing can be found, so the file ends there. The last frame of a killed writer is mostly
such a one.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from zlib import crc32

MAGIC = b"pocketflex log 1"
HEAD_NBYTES = 28
FRAME_NBYTES = 16
MOST = (1 << 31) - 1  # bytes of a body
_PIECE = 1 << 20  # bytes read at a time: what reading needs is bounded, however long a body says that it is
_LENGTHS = struct.Struct("<III")
_CHECK = struct.Struct("<I")
_OFFSET = struct.Struct("<Q")


class Readable(Protocol):
    """What `scan` reads from."""

    def read(self, n: int, /) -> Any:
        """Up to `n` bytes."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A good frame: where its body is, and how it begins."""

    kind: int
    offset: int
    beginning: bytes


class FrameHead(NamedTuple):
    """The head of a frame, and what its CRCs begin with."""

    length: int
    check: int
    kind: int
    seed: int


@dataclass(slots=True)
class Scan:
    """What reading a file has found besides its frames.

    Attributes:
        end: Where the last frame ends: the next is to be written there.
        damaged: Frames that were passed over.
        is_torn: Whether it ends within a frame, as where a writer was killed.
    """

    end: int = HEAD_NBYTES
    damaged: int = 0
    is_torn: bool = False


def make_head() -> bytes:
    """The head of a new journal."""
    start = MAGIC + os.urandom(8)
    return start + _CHECK.pack(crc32(start))


def nonce_of(head: bytes) -> bytes | None:
    """The nonce in a head; None if it is damaged."""
    is_good = len(head) == HEAD_NBYTES and head[24:] == _CHECK.pack(crc32(head[:24]))
    return head[16:24] if is_good else None


class Framing:
    """Writes and reads the frames of one journal."""

    def __init__(self, nonce: bytes) -> None:
        self._seed = crc32(nonce)

    def pack(self, kind: int, offset: int, body: Sequence[Any]) -> bytes:
        """The head of a frame that is to be at `offset`; the pieces of its body follow."""
        check = seed = crc32(_OFFSET.pack(offset), self._seed)
        for piece in body:
            check = crc32(piece, check)
        start = _LENGTHS.pack(sum(map(len, body)), check, kind)
        return start + _CHECK.pack(crc32(start, seed))

    def unpack(self, head: bytes, offset: int) -> FrameHead | None:
        """The head of the frame at `offset`; None if it is damaged."""
        if len(head) != FRAME_NBYTES:
            return None
        seed = crc32(_OFFSET.pack(offset), self._seed)
        length, check, kind = _LENGTHS.unpack_from(head)
        is_good = head[12:] == _CHECK.pack(crc32(head[:12], seed)) and length <= MOST
        return FrameHead(length, check, kind, seed) if is_good else None

    def scan(self, stream: Readable, keep: int, found: Scan) -> Iterator[Frame]:
        """The good frames of a stream that stands behind the head.

        Args:
            stream: The file.
            keep: How many bytes of the beginning of a body are wanted; it is checked to its end.
            found: Is filled in.
        """
        while head := stream.read(FRAME_NBYTES):
            unpacked = self.unpack(head, found.end)
            if unpacked is None:
                found.is_torn = len(head) < FRAME_NBYTES
                return
            left, seed, beginning = unpacked.length, unpacked.seed, b""
            while left and (piece := stream.read(min(left, _PIECE))):
                beginning += piece[: max(0, keep - len(beginning))]
                seed = crc32(piece, seed)
                left -= len(piece)
            if left:
                found.is_torn = True
                return
            if seed == unpacked.check:
                yield Frame(unpacked.kind, found.end, beginning)
            else:
                found.damaged += 1
            found.end += FRAME_NBYTES + unpacked.length
