"""What one item costs, there and back, warm."""

from __future__ import annotations

from typing import Any

import pytest

import pocketflex as pf
from bench.loads.functions import increment

pytest.importorskip("pytest_benchmark")


def test_one_item(benchmark: Any) -> None:
    """`parallel_map` of a list of one, two workers."""
    try:
        assert benchmark(pf.parallel_map, increment, [1], max_workers=2) == [2]
    finally:
        pf.shutdown()
