"""The reading side of shared memory; shm.py has the picture."""

from __future__ import annotations

import mmap
import os

from .segments import Region, Segment


class Lens:
    """The reading side of one peer's arena."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._segments: dict[int, Segment] = {}

    def add(self, segment: int, fd: int) -> None:
        """Map a segment that the peer has sent for the first time."""
        self._segments[segment] = Segment(fd, os.fstat(fd).st_size)

    def source(self, segment: int) -> mmap.mmap:
        """The mapping of a segment."""
        return self._segments[segment].map

    def private(self, region: Region) -> mmap.mmap:
        """A copy-on-write mapping of a region that is alone: memory is shared until it is written to."""
        return mmap.mmap(self._segments[region.segment].fd, region.nbytes, flags=mmap.MAP_PRIVATE)

    def knows(self, segment: int) -> bool:
        """Whether a segment has been added."""
        return segment in self._segments

    def release(self, region: Region) -> None:
        """Let the peer use a region again that it has lent; nothing may refer to it any more.

        The memory of one that has a segment of its own goes at once: the peer may sleep for long.
        """
        if os.getpid() != self._pid:
            return  # a fork lets go of its copy; the process that it was forked from still reads
        mapping = self.source(region.segment)
        if region.is_alone:
            mapping.madvise(mmap.MADV_REMOVE)  # what is removed reads as zeros, the word included
            self.forget(region.segment)
        else:
            mapping[region.offset : region.offset + 8] = bytes(8)

    def forget(self, segment: int) -> None:
        """Unmap a segment once nothing refers to it."""
        if found := self._segments.pop(segment, None):
            found.close()
