"""Where two results are said to differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pocketflex.observe.difference import first_difference


@dataclass
class Record:
    name: str
    values: Any


class Plain:
    def __init__(self, value: Any) -> None:
        self.value = value


@pytest.mark.parametrize(
    "make",
    [
        lambda: {"a": [1, (2, "3")]},
        lambda: {"a": [float("nan"), np.nan]},
        lambda: {"a": np.array([1.0, np.nan])},
        lambda: [{"b": np.arange(3)}, Record("a", np.zeros(2))],
        lambda: [ValueError("no", 1)],
        lambda: Plain([1, np.arange(2)]),
        lambda: {1, 2},
        lambda: None,
    ],
)
def test_values_that_are_made_alike_are_equal(make: Any) -> None:
    assert first_difference(make(), make(), "shared") is None


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ({"a": [1, 2]}, {"a": [1, 3]}, "shared['a'][1]: 2 and 3"),
        ({"a": 1}, {}, "shared['a'] is missing in the second"),
        ({}, {"a": 1}, "shared['a'] is missing in the first"),
        ([1, 2], [1], "shared: 2 and 1 entries"),
        ([1], ["1"], "shared[0]: 1 (int) and '1' (str)"),
        (np.arange(3), np.arange(1, 4), "shared: array([0, 1, 2]) and array([1, 2, 3])"),
        ([Record("a", 1)], [Record("a", 2)], "shared[0].values: 1 and 2"),
        (ValueError("a"), ValueError("b"), "shared.args[0]: 'a' and 'b'"),
        (Plain(1), Plain(2), "shared.value: 1 and 2"),
        ("a" * 99, "b", f"shared: '{'a' * 58}… and 'b'"),
    ],
)
def test_the_first_difference_is_placed(left: Any, right: Any, expected: str) -> None:
    assert first_difference(left, right, "shared") == expected
