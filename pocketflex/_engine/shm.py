"""Shared memory without a name: an `Arena` that one side writes, a `Lens` through which the other reads.

Memory is memfd only: it has no name that could be left behind, is not bound by the size of
``/dev/shm``, and goes with the last process that maps it. Space is reserved with `posix_fallocate`
before it is written to, and large requests are compared with the memory that is left, so a full
machine is an OSError here and not a SIGBUS at the first write.

The writer allocates a `Region`, fills it, and sends the region's numbers. The reader says when it
is done with it, and only then does the writer use the space again. Pages stay warm that way: to
touch a page of shared memory for the first time costs more than to fill it again (1 ms per MB
against 0.03).

    writer                                   reader
    Arena.allocate -> Region  -- message --> Lens.view(region)
    Arena.free(region)        <-- message -- region, once nothing refers to the view
"""

from __future__ import annotations

import errno
import mmap
import os
from bisect import insort
from collections import deque
from itertools import count
from threading import Lock
from typing import NamedTuple

from .packets import lift

ALIGNMENT = 64  # a cache line; also enough for every numpy dtype
_FIRST = 1 << 20  # bytes of an arena's first segment; each further one is twice as large ...
_LARGEST = 32 << 20  # ... up to this; a region above it gets a segment of its own, given back after use


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
    def create(cls, size: int) -> Segment:
        """Reserve `size` bytes.

        Raises:
            OSError: There is not enough memory, or no file descriptor left.
        """
        if size > _LARGEST and size > (free := available_memory()):
            raise OSError(errno.ENOMEM, f"{size:,} bytes of shared memory are wanted and {free:,} are available")
        fd = lift(os.memfd_create("pocketflex", os.MFD_CLOEXEC))
        try:
            os.posix_fallocate(fd, 0, size)
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


class Arena:
    """The writing side: regions in segments that stay warm. Safe to use from several threads.

    First fit over a short sorted list of holes a segment: a few dozen regions live at a time, so a
    scan beats cleverer structures. Freed regions wait in a queue for the next `allocate`: `free`
    may be called by the garbage collector in the middle of anything, so it must take no lock.
    """

    def __init__(self) -> None:
        self._segments: dict[int, Segment] = {}
        self._holes: dict[int, list[tuple[int, int]]] = {}  # segment -> sorted (offset, nbytes)
        self._freed: deque[Region] = deque()
        self._numbers = count(1)
        self._lock = Lock()

    def allocate(self, nbytes: int, *, alone: bool = False) -> Region:
        """Reserve `nbytes`, aligned to a cache line.

        Args:
            nbytes: Bytes wanted.
            alone: Give the region a segment of its own, as large ones always have.

        Raises:
            OSError: There is not enough memory.
        """
        wanted = round_up(max(nbytes, 1))
        if alone or wanted > _LARGEST:
            return Region(self._add(wanted), 0, wanted, is_alone=True)
        with self._lock:
            self._take_back()
            return self._find(wanted) or self._grow(wanted)

    def view(self, region: Region) -> memoryview:
        """The writable bytes of a region."""
        return memoryview(self._segments[region.segment].map)[region.offset : region.offset + region.nbytes]

    def descriptor(self, segment: int) -> int:
        """The file descriptor to send to a reader that has not seen this segment."""
        return self._segments[segment].fd

    def free(self, region: Region) -> None:
        """Take a region back."""
        if region.is_alone:
            self._segments.pop(region.segment).close()
        else:
            self._freed.append(region)

    def close(self) -> None:
        """Give all memory back."""
        for segment in self._segments.values():
            segment.close()
        self._segments.clear()
        self._holes.clear()

    def _take_back(self) -> None:
        while self._freed:
            region = self._freed.popleft()
            holes = self._holes[region.segment]
            insort(holes, (region.offset, region.nbytes))
            self._holes[region.segment] = _joined(holes)

    def _find(self, nbytes: int) -> Region | None:
        for number, holes in self._holes.items():
            for at, (offset, room) in enumerate(holes):
                if room >= nbytes:
                    holes[at : at + 1] = [(offset + nbytes, room - nbytes)] if room > nbytes else []
                    return Region(number, offset, nbytes)
        return None

    def _grow(self, nbytes: int) -> Region:
        size = min(_FIRST << len(self._holes), _LARGEST)
        while size < nbytes:
            size *= 2
        number = self._add(size)
        self._holes[number] = [(nbytes, size - nbytes)] if size > nbytes else []
        return Region(number, 0, nbytes)

    def _add(self, size: int) -> int:
        number = next(self._numbers)
        self._segments[number] = Segment.create(size)
        return number


class Lens:
    """The reading side of one peer's arena."""

    def __init__(self) -> None:
        self._segments: dict[int, Segment] = {}

    def add(self, segment: int, fd: int) -> None:
        """Map a segment that the peer has sent for the first time."""
        self._segments[segment] = Segment(fd, os.fstat(fd).st_size)

    def source(self, region: Region) -> mmap.mmap:
        """The mapping that a region lies in."""
        return self._segments[region.segment].map

    def view(self, region: Region) -> memoryview:
        """The bytes of a region."""
        return memoryview(self.source(region))[region.offset : region.offset + region.nbytes]

    def private(self, region: Region) -> mmap.mmap:
        """A copy-on-write mapping of a region that is alone: memory is shared until it is written to."""
        return mmap.mmap(self._segments[region.segment].fd, region.nbytes, flags=mmap.MAP_PRIVATE)

    def forget(self, region: Region) -> None:
        """Unmap a region that has a segment of its own; others stay mapped for the next use."""
        if region.is_alone:
            self._segments.pop(region.segment).close()


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


def _joined(holes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for offset, nbytes in holes:
        if joined and sum(joined[-1]) == offset:
            joined[-1] = (joined[-1][0], joined[-1][1] + nbytes)
        else:
            joined.append((offset, nbytes))
    return joined
