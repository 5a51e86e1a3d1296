"""A job's callable as a worker loads it: where its caller stands, with its buffers shared until they are changed."""

from __future__ import annotations

import os
import pickle
import sys
from typing import Any

from ..retry import Call
from . import payload
from .transport import Load, Parcel, Surroundings, Transport


def load_call(transport: Transport, message: Load) -> Call:
    """The callable of a job, loaded where its caller stands.

    Raises:
        BaseException: Whatever importing and unpickling it raises.
    """
    parcel = message.parcel
    surroundings, spans, data = pickle.loads(transport.lens.view(parcel.region)[: parcel.nbytes])
    _enter(surroundings)
    call: Call = payload.load(data, _buffers(transport, parcel, spans))
    return call


def _buffers(transport: Transport, parcel: Parcel, spans: list[tuple[int, int]]) -> list[Any]:
    if parcel.buffers is None:
        return []
    import numpy as np  # buffers come from arrays, which need it anyway

    memory = np.frombuffer(transport.lens.private(parcel.buffers), np.uint8)
    transport.lens.forget(parcel.buffers.segment)  # the arrays keep the private mapping, and nothing the shared one
    return [memory[offset : offset + nbytes] for offset, nbytes in spans]


def _enter(surroundings: Surroundings) -> None:
    if surroundings.folder:
        os.chdir(surroundings.folder)
    sys.path[:], sys.argv[:] = surroundings.path, surroundings.argv
    if surroundings.environ != dict(os.environb):
        os.environb.clear()
        os.environb.update(surroundings.environ)
