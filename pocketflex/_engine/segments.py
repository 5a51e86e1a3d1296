"""Pieces of shared memory: a `Segment` is a memfd and its mapping, a `Region` a stretch of one. See shm.py."""

from __future__ import annotations

import errno
import mmap
import os
from typing import NamedTuple

from .launch import lift

ALIGNMENT = 64  # a cache line; also enough for every numpy dtype
LARGEST = 32 << 20  # bytes of a segment of an arena; a region above it gets one of its own, given back after use


class Region(NamedTuple):
    """A stretch of a segment; its numbers are what travels.

    Attributes:
        segment: Number of the segment within its arena.
        offset: First byte.
        nbytes: Length in bytes.
        is_alone: Whether its segment holds nothing else, and goes when the region is freed.
    """

    segment: int
    offset: int
    nbytes: int
    is_alone: bool = False


class Segment:
    """One memfd and its mapping in this process."""

    def __init__(self, fd: int, size: int) -> None:
        """Map `fd`, which becomes this object's own."""
        try:
            self.map = mmap.mmap(fd, size)
        except BaseException:
            os.close(fd)
            raise
        self.fd = fd

    @classmethod
    def create(cls, size: int, reserved: int | None = None) -> Segment:
        """A segment of `size` bytes, of which `reserved` have memory at once; None: all.

        Raises:
            OSError: There is not enough memory, or no file descriptor left.
        """
        if size > LARGEST and size > (free := available_memory()):
            raise OSError(errno.ENOMEM, f"{size:,} bytes of shared memory are wanted and {free:,} are available")
        fd = lift(os.memfd_create("pocketflex", os.MFD_CLOEXEC))
        try:
            os.ftruncate(fd, size)
            os.posix_fallocate(fd, 0, size if reserved is None else reserved)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, size)

    def close(self) -> None:
        """Give the descriptor back, and the memory once nothing refers to the mapping.

        The map is dropped and not closed: numpy keeps a reference to what a view was made from, but
        does not stop it from being unmapped under the view.
        """
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            del self.map

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            os.close(self.fd)


def available_memory() -> int:
    """Bytes that can be had without swapping, as the kernel estimates.

    A memfd has no size limit of its own: reserving more than there is calls the out-of-memory
    killer, where a mounted tmpfs would report ENOSPC. So what is large is compared with this first.
    """
    with open("/proc/meminfo") as lines:
        return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), 1 << 62)


def round_up(nbytes: int) -> int:
    """`nbytes` up to the next multiple of the alignment."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
