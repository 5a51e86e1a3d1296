"""pf.share: rows reach the workers without a copy, and the memory goes with the array."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pocketflex as pf


def descriptors() -> int:
    return sum("memfd:pocketflex" in os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("dtype", ["f8", "i2", "M8[s]", "?", [("a", "i4"), ("b", "f8")], "S3"])
@pytest.mark.parametrize("shape", [(50, 7), (1, 3), (20, 2, 3), (40,), (3, 0), (0, 4)])
def test_a_shared_array_equals_what_it_was_made_from(dtype: Any, shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, dtype)
    shared = pf.share(array)
    assert (type(shared), shared.dtype, shared.shape) == (np.ndarray, array.dtype, array.shape)
    assert shared.tolist() == array.tolist()
    assert shared.flags.c_contiguous
    assert shared.flags.writeable


@pytest.mark.parametrize("cut", [slice(None), slice(10, 90), slice(None, None, 3), slice(None, None, -1), slice(5, 5)])
def test_rows_of_a_part_are_those_of_the_part(cut: slice) -> None:
    shared = pf.share(np.arange(3000.0).reshape(100, 30))
    found = pf.parallel_map(lambda row: row.tolist(), shared[cut], max_workers=2)
    assert found == shared[cut].tolist()


@pytest.mark.parametrize("order", ["C", "F"])
def test_columns_and_other_views_are_right_too(order: Any) -> None:
    shared = pf.share(np.asarray(np.arange(600).reshape(20, 30), order=order))
    assert pf.parallel_map(lambda row: row.tolist(), shared.T, max_workers=2) == shared.T.tolist()
    assert pf.parallel_map(lambda row: row.tolist(), shared[:, 3:5], max_workers=2) == shared[:, 3:5].tolist()


def test_changes_are_seen_by_the_next_call_and_workers_cannot_make_any() -> None:
    shared = pf.share(np.zeros((10, 4)))

    def set_row(row: Any) -> float:
        row[0] = 1
        return float(row[0])

    with pytest.raises(ValueError, match="read-only"):
        pf.parallel_map(set_row, shared, max_workers=2)
    shared += 2
    assert pf.parallel_map(lambda row: float(row.sum()), shared, max_workers=2) == [8.0] * 10


def test_a_chunk_is_one_array() -> None:
    class Sums(pf.BatchNode[Any, Any, Any]):
        def prep(self, shared: Any) -> Any:
            return shared["rows"]

        def exec_chunk(self, rows: Any) -> Any:
            assert isinstance(rows, np.ndarray)
            return rows.sum(axis=1).tolist()

        def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
            return "done", {"sums": exec_result}

    rows = np.arange(4000.0).reshape(1000, 4)
    assert pf.run_parallel_batch(pf.Flow(start=Sums), {"rows": pf.share(rows)})["sums"] == rows.sum(axis=1).tolist()


def test_a_view_that_a_worker_keeps_outlives_the_array() -> None:
    def keep(row: Any) -> float:
        kept.append(row)
        return sum(float(row[0]) for row in kept)

    kept: list[Any] = []
    for _ in range(3):
        shared = pf.share(np.ones((50, 1000)))
        assert pf.parallel_map(keep, shared, max_workers=1)[-1] == 50
        del shared
    assert pf.parallel_map(abs, range(3), max_workers=1) == [0, 1, 2]


def test_the_memory_goes_with_the_last_view() -> None:
    before = descriptors()
    shared = pf.share(np.ones((100, 100)))
    view = shared[3:5]
    assert pf.parallel_map(lambda row: float(row.sum()), view, max_workers=1) == [100.0] * 2
    del shared
    assert view.sum() == 200
    pf.shutdown()
    assert descriptors() > before
    del view
    gc.collect()  # of the pool, which is no more, something may be left
    assert descriptors() == before


def test_workers_unmap_what_has_gone_at_the_next_call() -> None:
    def mapped(_item: int) -> int:
        with open("/proc/self/maps") as lines:
            return sum("/memfd:pocketflex" in line for line in lines)

    rows = pf.share(np.zeros((100_000, 4)))
    pf.parallel_map(len, rows, max_workers=1)
    before = pf.parallel_map(mapped, [0], max_workers=1)[0]
    del rows
    assert pf.parallel_map(mapped, [0], max_workers=1) == [before - 1]


def test_a_shared_array_outlives_the_pool() -> None:
    shared = pf.share(np.ones((100, 100)))
    for _ in range(2):
        assert pf.parallel_map(lambda row: float(row.sum()), shared, max_workers=2) == [100.0] * 100
        pf.shutdown()


def test_a_worker_that_dies_costs_only_its_item() -> None:
    shared = pf.share(np.arange(200.0).reshape(100, 2))
    found = pf.parallel_map(lambda row: os._exit(1) if row[0] == 100 else float(row[0]), shared, on_error="collect")
    assert [index for index, result in enumerate(found) if isinstance(result, pf.Failure)] == [50]
    assert [result for result in found if not isinstance(result, pf.Failure)] == [
        2.0 * n for n in range(100) if n != 50
    ]


def test_what_has_objects_is_refused() -> None:
    with pytest.raises(TypeError, match="dtype object cannot be shared"):
        pf.share(np.array([{}, None]))
