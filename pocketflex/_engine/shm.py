"""Shared memory without a name: an `Arena` that one side writes, a `Lens` through which the other reads.

Memory is memfd only: it has no name that could be left behind, is not bound by the size of
``/dev/shm``, and goes with the last process that maps it. Space is reserved with `posix_fallocate`
before it is written to, and large requests are compared with the memory that is left, so a full
machine is an OSError here and not a SIGBUS at the first write.

The writer allocates a `Region`, fills it, and tells the region's numbers. Space is used again only
when the reader is done with it. Pages stay warm that way: to touch a page of shared memory for the
first time costs more than to fill it again (1 ms per MB against 0.03).

    writer                                   reader
    Arena.allocate -> Region  ------------>  Lens.source(region.segment)
    Arena.free(region)                       (the writer knows by itself that the reader is done)
    Arena.lend(region)        ------------>  Lens.source(region.segment)
    (looks when it needs room)     word = 0  Lens.release(region), once nothing refers to the view

A region that is lent begins with a word that is 1, and 0 again after its release. That is one aligned
store and no message, so it can be made by the garbage collector, in the middle of anything.
"""

from __future__ import annotations

import mmap
import os
import sys
from bisect import insort
from collections import deque
from itertools import count
from weakref import WeakValueDictionary

from ..errors import WorkerDiedError
from .exclusive import Exclusive
from .segments import LARGEST, Region, Segment, round_up

_PAGE = mmap.PAGESIZE
_FIRST = 1 << 20  # bytes of an arena's first segment; each further one is twice as large, up to LARGEST
_LENT = (1).to_bytes(8, sys.byteorder)  # the first word of a region that the reader has


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
        self._lent: list[Region] = []
        self._adopted: WeakValueDictionary[int, Segment] = WeakValueDictionary()
        self._seen: set[int] = set()  # numbers of adopted segments
        self._cold: set[int] = set()  # segments of which some memory has been given back
        self._numbers = count(1)
        self._lock = Exclusive()
        self._is_closed = False

    def allocate(self, nbytes: int, *, alone: bool = False) -> Region:
        """Reserve `nbytes`, aligned to a cache line.

        Args:
            nbytes: Bytes wanted.
            alone: Give the region a segment of its own, as large ones always have.

        Raises:
            OSError: There is not enough memory.
            WorkerDiedError: The arena has been closed.
        """
        wanted = round_up(max(nbytes, 1))
        with self._lock:
            self._check()
            if alone or wanted > LARGEST:
                self._reclaim()
                return Region(self._add(wanted), 0, wanted, is_alone=True)
            self._take_back()
            if found := self._find(wanted):
                return found
            self._reclaim()
            return self._find(wanted) or self._grow(wanted)

    def view(self, region: Region) -> memoryview:
        """The writable bytes of a region."""
        self._check()
        return memoryview(self._segments[region.segment].map)[region.offset : region.offset + region.nbytes]

    def shrink(self, region: Region, nbytes: int) -> Region:
        """Give back what is beyond the first `nbytes` of a region; returns what remains of it."""
        kept = round_up(max(nbytes, 1))
        if region.is_alone or kept >= region.nbytes:
            return region
        self._freed.append(Region(region.segment, region.offset + kept, region.nbytes - kept))
        return Region(region.segment, region.offset, kept)

    def lend(self, region: Region) -> None:
        """Note a region that the reader will release; its first word is 1 from here on."""
        self.view(region)[:8] = _LENT
        self._lent.append(region)

    @property
    def has_lent(self) -> bool:
        """Whether there are regions that the reader may have."""
        return bool(self._lent)

    def mappings(self) -> list[tuple[mmap.mmap, int]]:
        """The mapping and the descriptor of every segment."""
        return [(segment.map, segment.fd) for segment in self._segments.values()]

    def segments(self) -> list[int]:
        """The numbers of all segments."""
        return list(self._segments)

    def adopt(self, segment: Segment) -> int:
        """Let readers of this arena read a segment that is somebody else's; returns its number here."""
        with self._lock:
            for number, known in self._adopted.items():
                if known is segment:
                    return number
            number = next(self._numbers)
            self._adopted[number] = segment
            self._seen.add(number)
            return number

    def gone(self) -> set[int]:
        """The adopted segments that have gone since the last call."""
        if not self._seen:
            return self._seen
        gone = self._seen - set(self._adopted)
        self._seen -= gone
        return gone

    def find(self, segment: int) -> Segment | None:
        """What a reader that has not seen this segment is to be sent the descriptor of; None once it has gone."""
        return self._segments.get(segment) or self._adopted.get(segment)

    def free(self, region: Region, *, is_unread: bool = False) -> None:
        """Take a region back.

        Args:
            region: The region.
            is_unread: Whether nobody refers to it any more. The memory of a region that is alone then
                goes at once, else when its readers have unmapped it too.
        """
        if self._is_closed:
            return
        if region.is_alone:
            segment = self._segments.pop(region.segment)
            if is_unread:
                segment.map.madvise(mmap.MADV_REMOVE)
            segment.close()
        else:
            self._freed.append(region)

    def cool(self, kept: int) -> None:
        """Give free memory back to the system, but for so many bytes; it is reserved again when it is used again."""
        with self._lock:
            self._reclaim()
            for number, holes in self._holes.items():
                for offset, nbytes in holes:
                    first, last = -(-offset // _PAGE) * _PAGE, (offset + nbytes) // _PAGE * _PAGE
                    warm = min(kept, max(last - first, 0)) // _PAGE * _PAGE
                    kept -= warm
                    if first + warm < last:
                        self._segments[number].map.madvise(mmap.MADV_REMOVE, first + warm, last - first - warm)
                        self._cold.add(number)

    def _check(self) -> None:
        if self._is_closed:
            raise WorkerDiedError("the worker pool was shut down while a call was under way")

    def close(self) -> None:
        """Give all memory back."""
        self._is_closed = True
        for segment in self._segments.values():
            segment.close()
        self._segments.clear()
        self._holes.clear()

    def _reclaim(self) -> None:
        lent, self._lent = self._lent, []
        for region in lent:
            if self.view(region)[:8] == _LENT:
                self._lent.append(region)
            else:
                self.free(region)
        self._take_back()

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
                    if number in self._cold:
                        os.posix_fallocate(self._segments[number].fd, offset, nbytes)
                    holes[at : at + 1] = [(offset + nbytes, room - nbytes)] if room > nbytes else []
                    return Region(number, offset, nbytes)
        return None

    def _grow(self, nbytes: int) -> Region:
        size = min(_FIRST << len(self._holes), LARGEST)
        while size < nbytes:
            size *= 2
        number = self._add(size)
        self._holes[number] = [(nbytes, size - nbytes)] if size > nbytes else []
        return Region(number, 0, nbytes)

    def _add(self, size: int) -> int:
        number = next(self._numbers)
        self._segments[number] = Segment.create(size)
        return number


def _joined(holes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for offset, nbytes in holes:
        if joined and sum(joined[-1]) == offset:
            joined[-1] = (joined[-1][0], joined[-1][1] + nbytes)
        else:
            joined.append((offset, nbytes))
    return joined
