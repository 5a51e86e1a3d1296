"""Reading another process's memory: what is there arrives, what is not is an OSError."""

from __future__ import annotations

import os
from array import array
from typing import Any

import numpy as np
import pytest


def located(core: Any, items: list[Any]) -> Any:
    places = array("q", bytes(16 * len(items)))
    core.locate(items, places, 0)
    return places


@pytest.mark.parametrize("sizes", [[1], [4096], [0, 5, 0], [7] * 200, [100_000, 1, 300_000]], ids=repr)
def test_pieces_arrive_one_behind_the_other(core: Any, sizes: list[int]) -> None:
    items = [os.urandom(size) for size in sizes]
    room = bytearray(sum(sizes))
    core.fetch(os.getpid(), located(core, items), 0, len(items), room)
    assert bytes(room) == b"".join(items)


def test_some_of_the_places_can_be_fetched(core: Any) -> None:
    items = [b"one", b"four", b"seven"]
    room = bytearray(4)
    core.fetch(os.getpid(), located(core, items), 2, 1, room)
    assert room == b"four"


def test_bytes_arrive_in_a_new_object(core: Any) -> None:
    item = os.urandom(100_000)
    address, nbytes = located(core, [item])
    fetched = core.fetch_bytes(os.getpid(), address, nbytes)
    assert fetched == item
    assert fetched is not item


def test_arrays_are_located_too(core: Any) -> None:
    numbers = np.arange(1000.0)
    room = np.empty(1000)
    core.fetch(os.getpid(), located(core, [numbers]), 0, 1, room.view(np.uint8))
    assert (room == numbers).all()
    numbers.flags.writeable = False
    assert located(core, [numbers])[1] == 8000


def test_another_process_is_read(core: Any) -> None:
    item = os.urandom(5000)
    address, nbytes = located(core, [item])
    ours, theirs = os.pipe()
    parent, child = os.getpid(), os.fork()
    if child == 0:
        try:
            os.write(theirs, core.fetch_bytes(parent, address, nbytes))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(theirs)
    assert os.read(ours, 10_000) == item
    os.close(ours)


def test_what_is_not_there_is_an_error_of_the_system(core: Any) -> None:
    with pytest.raises(OSError):  # noqa: PT011
        core.fetch_bytes(os.getpid(), 8, 100)
    with pytest.raises(OSError):  # noqa: PT011
        core.fetch(os.getpid(), array("q", [8, 10]), 0, 1, bytearray(10))
    with pytest.raises(OSError):  # noqa: PT011
        core.fetch_bytes(2**22 + 1, 8, 100)  # no process has that number


@pytest.mark.parametrize("places", [[8, 5], [8, -1], [8, -5, 8, 15], [8, 2**62, 8, 2**62]], ids=repr)
def test_pieces_that_do_not_fill_the_room_are_refused(core: Any, places: list[int]) -> None:
    with pytest.raises(ValueError, match="do not fill"):
        core.fetch(os.getpid(), array("q", places), 0, len(places) // 2, bytearray(10))


def test_arguments_that_make_no_sense_are_refused(core: Any) -> None:
    with pytest.raises(ValueError, match="no room"):
        core.locate([b"1", b"2"], array("q", bytes(24)), 0)
    with pytest.raises(ValueError, match="at"):
        core.locate([], array("q", [0]), 2)
    with pytest.raises(ValueError, match="count"):
        core.fetch(os.getpid(), array("q", [0, 0]), 0, 2, bytearray(0))
    with pytest.raises(BufferError):
        core.fetch(os.getpid(), array("q", [0, 0]), 0, 1, b"")


def test_who_is_admitted_need_not_exist(core: Any) -> None:
    assert core.admit(os.getpid()) is None
