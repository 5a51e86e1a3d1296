"""Every test here runs on the native core and on its twin, which must not be told apart."""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import Any

import pytest

IMPLEMENTATIONS = ("pocketflex._native", "pocketflex._engine.twin")


@pytest.fixture(scope="session", params=IMPLEMENTATIONS, ids=["native", "twin"])
def core(request: pytest.FixtureRequest) -> Any:
    """The module under test."""
    return _load(request.param)


@pytest.fixture(scope="session")
def both() -> tuple[Any, Any]:
    """The two modules, to be compared."""
    native, twin = map(_load, IMPLEMENTATIONS)
    return native, twin


@pytest.fixture
def memory() -> Iterator[mmap]:
    """Memory that can be unmapped in the end, so nobody has kept a hold on it."""
    memory = mmap(-1, 1 << 17)
    yield memory
    memory.close()


def _load(name: str) -> Any:
    return pytest.importorskip(name, exc_type=ImportError)
