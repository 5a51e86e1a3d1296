"""What it costs to publish an entry and to claim its 64 grains one by one; native/README.md has the ledger."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

pytest.importorskip("pytest_benchmark")
native = pytest.importorskip("pocketflex._engine.native")
twin = pytest.importorskip("pocketflex._engine.twin")

TOTAL, WORKERS, FIRST_ENTRY = 4, 5, 8  # words of the ledger
GRAINS, GRAIN = 64, 100
CORES = {"native": native, "twin": twin}


@pytest.fixture
def lock() -> Iterator[int]:
    """The descriptor that the twin locks."""
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


@pytest.mark.parametrize("name", CORES)
def test_publish_and_claim_64_grains(benchmark: Any, lock: int, name: str) -> None:
    """One worker takes everything, a grain at a time."""
    if name == "native" and not native.IS_NATIVE:
        pytest.skip("the native core was not built")
    core, numbers = CORES[name], count(1)
    ledger = bytearray(8 * core.LEDGER_WORDS)
    core.store(ledger, TOTAL, -1)
    core.store(ledger, WORKERS, 2)

    def drain() -> int:
        for word, value in enumerate((next(numbers), 0, GRAINS * GRAIN, GRAIN, 0, 0, 0)):
            core.store(ledger, FIRST_ENTRY + word, value)
        core.publish(ledger, 0, lock)
        claims = 0
        while core.claim(ledger, 0, 1, lock) is not None:
            claims += 1
        return claims

    assert benchmark(drain) == GRAINS
