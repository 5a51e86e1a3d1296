"""What a column costs to encode and to decode, native core and twin: 10,000 items a call."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("pytest_benchmark")
native = pytest.importorskip("pocketflex._engine.native")
twin = pytest.importorskip("pocketflex._engine.twin")

COUNT = 10_000
ITEMS: dict[str, list[Any]] = {
    "int": list(range(COUNT)),
    "float": [number / 7 for number in range(COUNT)],
    "ascii": [f"item{number}" for number in range(COUNT)],
    "utf8": [f"straße{number}" for number in range(COUNT)],
    "bytes": [b"item%d" % number for number in range(COUNT)],
    "bool": [number % 3 == 0 for number in range(COUNT)],
    "none": [None] * COUNT,
}
CORES = {"native": native, "twin": twin}


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> Any:
    """Each implementation; the first is missing where there was no compiler."""
    if request.param == "native" and not native.IS_NATIVE:
        pytest.skip("the native core was not built")
    return CORES[request.param]


@pytest.mark.parametrize("kind", ITEMS)
def test_encode(benchmark: Any, core: Any, kind: str) -> None:
    """A column of all items."""
    buffer = bytearray(64 * COUNT)
    _, nbytes = benchmark(core.encode, ITEMS[kind], 0, COUNT, buffer, 0)
    assert nbytes <= len(buffer)


@pytest.mark.parametrize("kind", ITEMS)
def test_decode(benchmark: Any, core: Any, kind: str) -> None:
    """A list of all items."""
    buffer = bytearray(64 * COUNT)
    column, nbytes = core.encode(ITEMS[kind], 0, COUNT, buffer, 0)
    items = [None] * COUNT
    benchmark(core.decode, column, buffer, 0, nbytes, COUNT, items, 0)
    assert items == ITEMS[kind]
