"""Numbers of numpy as items and as results: of the same type and value, with every kind of output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pocketflex as pf


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.uint8, np.complex64, np.bool_])
@pytest.mark.parametrize("count", [1, 3, 3_000])
def test_they_arrive_as_they_were(kind: Any, count: int) -> None:
    numbers = [kind(number % 100) for number in range(count)]
    found = pf.parallel_map(kind, numbers, max_workers=2)
    assert found == numbers
    assert {type(number) for number in found} == {kind}


def test_of_several_types_they_do_too() -> None:
    numbers = [kind(number) for number in range(100) for kind in (np.float64, np.int32, float)]
    found = pf.parallel_map(abs, numbers, max_workers=2)
    assert [(type(number), number) for number in found] == [(type(number), number) for number in numbers]


@pytest.mark.parametrize("kind", [np.float32, np.int16, np.bool_])
def test_they_make_an_array(kind: Any) -> None:
    found = pf.parallel_map(kind, range(1_000), max_workers=2, output="array")
    assert found.dtype == kind
    assert (found == np.array([kind(number) for number in range(1_000)])).all()


def test_one_that_fails_costs_itself() -> None:
    def invert(number: Any) -> Any:
        if number == 7:
            raise ValueError("seven")
        return 1 / number

    found = pf.parallel_map(invert, [np.float64(number) for number in range(1, 50)], max_workers=2, on_error="skip")
    assert found == [1 / np.float64(number) for number in range(1, 50) if number != 7]
