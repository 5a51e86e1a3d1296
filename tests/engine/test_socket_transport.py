"""A connection to a worker that reads nothing for long: nothing is lost, nothing waits but the worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from pocketflex._engine.packets import open_pair
from pocketflex._engine.segments import Region, Segment
from pocketflex._engine.shm import Arena
from pocketflex._engine.socket_transport import SocketTransport
from pocketflex._engine.transport import Drained, Forget, Load

MANY = 2_000  # messages, more than any socket has room for
Ends = tuple[SocketTransport, SocketTransport]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = open_pair()
    with (
        closing(Arena()) as arena,
        closing(Arena()) as other,
        closing(SocketTransport(ours, arena, may_block=False)) as parent,
        closing(SocketTransport(theirs, other)) as worker,
    ):
        yield parent, worker
        worker.lens.forget(1)


def load(job: int) -> Load:
    return Load(job, Region(1, 0, 64), 1)


def fill(parent: SocketTransport) -> None:
    for job in range(MANY):
        parent.send(load(job))


def read_all(parent: SocketTransport, worker: SocketTransport) -> list[object]:
    """What the worker reads while the parent sends what it owes, until that is all."""
    found: list[object] = []
    while True:
        if (message := worker.receive(block=False)) is not None:
            found.append(message)
        elif parent.receive(block=False) is None:
            return found
        else:
            parent.flush()


def test_what_has_no_room_comes_later_and_in_order(ends: Ends) -> None:
    parent, worker = ends
    fill(parent)
    assert read_all(parent, worker) == [load(job) for job in range(MANY)]
    assert not parent.flush()


def test_a_worker_that_lacks_memory_waits_for_what_introduces_it(ends: Ends) -> None:
    parent, worker = ends
    region = parent.arena.allocate(10)
    parent.arena.view(region)[:5] = b"hello"
    fill(parent)
    parent.introduce(region.segment)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(worker.memory(region.segment)[:5]))
    reader.start()
    while reader.is_alive():
        if parent.is_ready(0.1) and parent.receive() == Drained():
            parent.flush()
    reader.join()
    assert found == [b"hello"]


def test_what_has_gone_meanwhile_is_not_introduced(ends: Ends) -> None:
    parent, worker = ends
    fill(parent)
    alone, lasting = parent.arena.allocate(10, alone=True), parent.arena.allocate(10, alone=True)
    segment = Segment.create(4096)
    adopted = parent.arena.adopt(segment)
    parent.introduce(alone.segment, adopted, lasting.segment)
    parent.arena.free(alone)
    parent.send(Forget(alone.segment))
    segment.close()
    del segment
    assert read_all(parent, worker) == [load(job) for job in range(MANY)]
    known = [worker.lens.knows(number) for number in (alone.segment, adopted, lasting.segment)]
    assert known == [False, False, True]
    parent.send(Forget(lasting.segment))
    assert read_all(parent, worker) == [Forget(lasting.segment)]
    worker.lens.forget(lasting.segment)
