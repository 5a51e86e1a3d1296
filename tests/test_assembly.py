"""output="array": the same numbers, in one ndarray, on every executor and in every model."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

import pocketflex as pf

EXECUTORS = ("serial", "threads", "processes")


def as_array(function: Any, items: Any, **options: Any) -> Any:
    return pf.parallel_map(function, items, output="array", **options)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(
    ("function", "dtype"),
    [
        (lambda n: n * n, "int64"),
        (lambda n: n / 3, "float64"),
        (lambda n: n % 3 == 0, "bool"),
        (lambda n: complex(n, 1), "complex128"),
        (lambda n: n if n % 2 else n / 2, "float64"),  # of both: what numpy makes of them
        (lambda n: np.float32(n), "float32"),
    ],
)
def test_numbers_come_in_an_array(executor: str, function: Any, dtype: str) -> None:
    found = as_array(function, range(5000), executor=executor, max_workers=2)
    assert found.dtype == dtype
    assert found.tolist() == [function(n) for n in range(5000)]


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("shape", [(3,), (2000,), (2, 0), (4, 5)])
def test_arrays_of_one_shape_are_its_rows(executor: str, shape: tuple[int, ...]) -> None:
    found = as_array(lambda n: np.full(shape, n, "i2"), range(300), executor=executor, max_workers=2)
    assert (found.dtype, found.shape) == (np.dtype("i2"), (300, *shape))
    assert (found == np.arange(300).reshape(300, *[1] * len(shape))).all()


def test_the_array_owns_its_memory_and_can_be_written_to() -> None:
    found = as_array(lambda row: row * 2, np.ones((500, 1000)), max_workers=2)
    pf.shutdown()
    found += 1
    assert (found == 3).all()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_without_items_the_array_is_empty(executor: str) -> None:
    assert as_array(len, [], executor=executor).shape == (0,)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(
    ("function", "what"),
    [
        (str, "not str"),
        (lambda n: None if n == 7 else n, "not NoneType"),
        (lambda n: 2**70 + n, "not int"),
        (lambda n: np.zeros(n), "arrays of one shape"),
        (lambda n: np.zeros(1 + n // 8), "arrays of one shape"),
    ],
)
def test_what_is_no_array_is_refused_by_name(executor: str, function: Any, what: str) -> None:
    with pytest.raises(TypeError, match=rf"output='array'.*{what}"):
        as_array(function, range(16), executor=executor, max_workers=2, chunksize=8)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_fails_can_be_skipped(executor: str) -> None:
    found = as_array(lambda n: 12 // n, [3, 0, 4], executor=executor, on_error="skip", max_workers=2)
    assert found.tolist() == [4, 3]


def test_the_failure_of_an_item_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        as_array(lambda n: 12 // n, [3, 0, 4], max_workers=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"output": "tuple"}, "output='tuple'"), ({"output": "array", "on_error": "collect"}, "no place for a failure")],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(pf.OptionError, match=message):
        pf.parallel_map(abs, [1], **options)


def test_a_stream_is_no_array() -> None:
    with pytest.raises(pf.OptionError, match="parallel_imap yields one result after the other"):
        pf.parallel_imap(abs, [1], output="array")


class Roots(pf.BatchNode[Any, Any, Any]):
    def prep(self, shared: Any) -> Any:
        return shared["numbers"]

    def exec_item(self, number: float) -> float:
        return number**0.5

    def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
        return "done", {**shared, "roots": exec_result}


class AsyncRoots(pf.AsyncBatchNode[Any, Any, Any]):
    def prep(self, shared: Any) -> Any:
        return shared["numbers"]

    async def exec_item_async(self, number: float) -> float:
        return number**0.5

    def post(self, shared: Any, prep_result: Any, exec_result: Any) -> Any:
        return "done", {**shared, "roots": exec_result}


@pytest.mark.parametrize("model", [pf.run, pf.run_batch, pf.run_parallel_batch])
def test_a_node_gets_its_results_as_an_array(model: Any) -> None:
    final = model(pf.Flow(start=Roots), {"numbers": [1.0, 4.0, 9.0]}, output="array")
    assert isinstance(final["roots"], np.ndarray)
    assert final["roots"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("node", [Roots, AsyncRoots])
@pytest.mark.parametrize("model", [pf.run_async, pf.run_async_batch, pf.run_async_parallel_batch])
def test_an_awaited_node_gets_its_results_as_an_array(model: Any, node: Any) -> None:
    final = asyncio.run(model(pf.Flow(start=node), {"numbers": [1.0, 4.0, 9.0]}, output="array"))
    assert isinstance(final["roots"], np.ndarray)
    assert final["roots"].tolist() == [1, 2, 3]
