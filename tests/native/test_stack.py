"""Arrays side by side: which are of one form, and that their bytes arrive."""

from __future__ import annotations

from mmap import mmap
from typing import Any

import numpy as np
import pytest

from .test_columns import grown


class Odd(np.ndarray[Any, Any]):
    pass


DTYPES = ["f8", ">f8", "?", "f2", "c16", "U5", "S3", "M8[ns]", "V7", [("a", "i1"), ("b", "f8")]]
SHAPES = [(3,), (2, 3), (1, 1, 1), (0, 4), (5, 0)]


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
@pytest.mark.parametrize("dtype", DTYPES, ids=repr)
def test_arrays_of_one_form_are_alike_and_arrive(core: Any, dtype: Any, shape: tuple[int, ...]) -> None:
    nbytes = int(np.zeros(shape, dtype).nbytes)
    arrays = [np.frombuffer(bytearray([number] * nbytes), np.dtype(dtype)).reshape(shape) for number in range(3)]
    assert core.alike(arrays, np.ndarray) is True
    room = bytearray(3 * nbytes + 24)
    core.stack(arrays, room, 8)
    assert room == bytes(8) + b"".join(array.tobytes() for array in arrays) + bytes(16)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    "odd",
    [
        np.zeros((2, 4)),
        np.zeros((3, 2)),
        np.zeros(6),
        np.zeros((2, 3, 1)),
        np.zeros((2, 3), "i8"),
        np.zeros((2, 3), ">f8"),
        np.zeros((3, 2)).T,
        np.zeros((2, 6))[:, ::2],
        read_only(np.zeros((2, 3))),
        np.zeros((2, 3)).view(Odd),
        np.array(1.0),
        np.float64(1),
        b"123",
        None,
    ],
    ids=repr,
)
def test_one_of_another_form_is_found(core: Any, odd: Any, place: int) -> None:
    arrays: list[Any] = [np.zeros((2, 3)) for _ in range(2)]
    arrays.insert(place, odd)
    assert core.alike(arrays, np.ndarray) is False


@pytest.mark.parametrize(
    "item",
    [np.array(1.0), np.zeros((3, 2)).T, read_only(np.zeros(3)), b"12", bytearray(8), memoryview(bytearray(8)), 5, None],
    ids=repr,
)
def test_one_that_is_no_plain_array_is_not_alike_to_itself(core: Any, item: Any) -> None:
    assert core.alike([item, item], np.ndarray) is False
    assert core.alike([item], type(item)) is False


def test_nothing_is_not_alike(core: Any) -> None:
    assert core.alike([], np.ndarray) is False


def test_unpacked_rows_of_one_array_are_alike(core: Any) -> None:
    rows = list(np.arange(12.0).reshape(4, 3))
    assert core.alike(rows, np.ndarray) is True
    core.stack(rows, room := bytearray(96), 0)
    assert (np.frombuffer(room).reshape(4, 3) == np.arange(12.0).reshape(4, 3)).all()


def test_what_does_not_fit_is_refused(core: Any) -> None:
    arrays = [np.zeros(2), np.zeros(2)]
    for room, offset in ((bytearray(31), 0), (bytearray(32), 8), (bytearray(40), 4), (bytearray(32), 40)):
        with pytest.raises(ValueError):  # noqa: PT011
            core.stack(arrays, room, offset)
    with pytest.raises(BufferError):
        core.stack(arrays, bytes(64), 0)
    with pytest.raises(TypeError):
        core.stack((*arrays,), bytearray(64), 0)
    with pytest.raises(TypeError):
        core.alike((*arrays,), np.ndarray)
    with pytest.raises((ValueError, BufferError)):
        core.stack([np.zeros((3, 2)).T], bytearray(64), 0)


def test_the_memory_is_let_go_of(core: Any, memory: mmap) -> None:
    core.stack([np.ones(2)], memory, 8)
    with pytest.raises(ValueError, match="no room"):
        core.stack([np.ones(1 << 20)], memory, 0)
    assert memory[8:24] == np.ones(2).tobytes()


def test_nothing_leaks(core: Any) -> None:
    arrays = [np.zeros(3), np.zeros(3)]

    def exercise() -> None:
        core.alike(arrays, np.ndarray)
        core.alike([*arrays, np.zeros(4), None], np.ndarray)
        core.alike([bytearray(8)] * 2, bytearray)
        core.stack(arrays, bytearray(48), 0)
        with pytest.raises(ValueError, match="no room"):
            core.stack(arrays, bytearray(40), 0)

    assert grown(exercise) < 50
