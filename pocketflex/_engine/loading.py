"""A job's callable as a worker loads it: where its caller stands, with its buffers shared until they are changed."""

from __future__ import annotations

import os
import pickle
import sys
from typing import Any

from ..retry import Call
from . import payload
from .segments import Region
from .speech import Speech
from .transport import Surroundings, Terms, Transport, environ_now


class Loader:
    """Loads the callables of jobs; where their callers stand it reads once, as long as that is the same."""

    def __init__(self, transport: Transport, speech: Speech) -> None:
        self._transport = transport
        self._speech = speech
        self._here = 0, Surroundings("", (), (), {})  # number of its parcel

    def load(self, terms: Terms) -> Call:
        """The callable of a job, loaded where its caller stands.

        Raises:
            BaseException: Whatever importing and unpickling it raises.
        """
        number, region, nbytes, _ = terms.surroundings
        self._stand(number, region.segment, region.offset, nbytes)
        data, buffers = self._bytes(terms.call.region.segment, terms.call.region.offset, terms.call.nbytes), list[Any]()
        if terms.call.buffers is not None:
            spans, data = pickle.loads(data)
            buffers = _split(self._transport, terms.call.buffers, spans)
        call: Call = payload.load(data, buffers)
        return call

    def load_pickle(self, here: tuple[int, int, int, int], data: memoryview) -> Call:
        """The callable of an errand, loaded where its caller stands.

        Args:
            here: Number of the parcel of the surroundings, and where it lies: segment, offset, length.
            data: The pickle of the callable.

        Raises:
            BaseException: Whatever importing and unpickling it raises.
        """
        self._stand(*here)
        call: Call = payload.load(data)
        return call

    def _stand(self, number: int, segment: int, offset: int, nbytes: int) -> None:
        known, here = self._here
        if known != number:
            here = pickle.loads(self._bytes(segment, offset, nbytes))
        _enter(here)
        self._speech.tune(here.ears)
        self._speech.begin()
        self._here = number, here

    def _bytes(self, segment: int, offset: int, nbytes: int) -> Any:
        return memoryview(self._transport.memory(segment))[offset : offset + nbytes]


def _split(transport: Transport, region: Region, spans: list[tuple[int, int]]) -> list[Any]:
    import numpy as np  # buffers come from arrays, which need it anyway

    transport.memory(region.segment)
    memory = np.frombuffer(transport.lens.private(region), np.uint8)
    transport.lens.forget(region.segment)  # the arrays keep the private mapping, and nothing the shared one
    return [memory[offset : offset + nbytes] for offset, nbytes in spans]


def _enter(surroundings: Surroundings) -> None:
    """Stand where the caller does; items of former jobs may have gone elsewhere."""
    if surroundings.folder:
        os.chdir(surroundings.folder)
    sys.path[:], sys.argv[:] = surroundings.path, surroundings.argv
    if surroundings.environ != environ_now():
        os.environb.clear()
        os.environb.update(surroundings.environ)
