"""Arrays that the user has put in shared memory, which no call has to copy any more.

`share` gives an ordinary ndarray whose bytes lie in a segment of their own. When rows of it, or of a
part of it that is one piece, are the items of a job, its blocks say only where they are. The segment
goes when nothing refers to the array any more.
"""

from __future__ import annotations

import weakref
from typing import Any

from .arrays import has_plain_rows
from .segments import Segment


class Shared:
    """The shared arrays of this process."""

    def __init__(self) -> None:
        self._segments: dict[int, tuple[int, Segment, weakref.ref[Any]]] = {}  # by address: end, segment, array

    def share(self, array: Any) -> Any:
        """Copy an array to shared memory; see `pocketflex.share`."""
        import numpy as np

        source = np.asarray(array)
        if not has_plain_rows(source):
            raise TypeError(f"an array of dtype {source.dtype} cannot be shared: its items are not plain bytes")
        segment = Segment.create(max(source.nbytes, 1))
        root = np.frombuffer(segment.map, np.uint8)
        address = root.__array_interface__["data"][0]
        reference = weakref.ref(root, lambda _: self._segments.pop(address))
        self._segments[address] = address + source.nbytes, segment, reference
        shared = root[: source.nbytes].view(source.dtype).reshape(source.shape)
        shared[...] = source
        return shared

    def find(self, rows: Any) -> tuple[Segment, int] | None:
        """The segment that an array lies in, in one piece, and its offset there; None where it does not."""
        if not self._segments or not rows.flags.c_contiguous or not rows.nbytes:
            return None
        begin = rows.__array_interface__["data"][0]
        for address, (end, segment, _) in self._segments.items():
            if address <= begin and begin + rows.nbytes <= end:
                return segment, begin - address
        return None


_shared = Shared()
share = _shared.share
find = _shared.find
