"""The table of workloads: a load, how it is measured, and who takes part."""

from __future__ import annotations

from dataclasses import dataclass

from .gauges import CALL, COLD, FIRST_CALL, GROWTH, ROUND_TRIP, SECOND, WOKEN_ROUND_TRIP, Gauge
from .loads.arrays import ARRAYS, NUMBERS_OUT, RAMPS_OUT, ROW_ROOTS, ROW_SUMS
from .loads.load import Load
from .loads.plain import (
    BYTES_IN,
    BYTES_OUT,
    COARSE,
    ENTRIES,
    EVEN,
    MANY_NO_OPS,
    NAPS,
    NO_OPS,
    OBJECTS,
    ONE,
    RECORDS_IN,
    RECORDS_OUT,
    SKEWED,
    TINY_NUMBERS,
    TINY_STRINGS,
)
from .peers import LOOPS, POOLS, PROCESSES


@dataclass(frozen=True)
class Workload:
    """One row of figures.

    Attributes:
        title: What is done.
        group: The table of the report that it belongs to.
        load: Function and items.
        gauge: How it is measured.
        peers: Who takes part.
        rounds: At the most so many rounds; None is as many as the run has.
    """

    title: str
    group: str
    load: Load
    gauge: Gauge
    peers: tuple[str, ...]
    rounds: int | None = None


_ITEMS, _ARRAYS, _RECORDS = "Items", "Arrays and bytes", "Records and objects"
_CALLS, _LOOP, _MEMORY = "Calls", "Event loop", "Growth of memory"
_PLAIN = ("serial", "map", "by-hand", "pocketflex")
_HOLDING_GIL = ("serial", "by-hand", "pocketflex", *PROCESSES)  # threads would take as long as the loop
_CARRYING = ("serial", "pocketflex", *PROCESSES)
_LETTING_GO = ("serial", "by-hand", "pocketflex", "threads", *PROCESSES)
_AWAITING = ("pocketflex-async", *LOOPS)

WORKLOADS: dict[str, Workload] = {
    "W1": Workload(
        "`str.upper`, 1 M short strings",
        _ITEMS,
        TINY_STRINGS,
        CALL,
        (*_PLAIN, "pocketflex-inside", "threads", *PROCESSES),
    ),
    "W2": Workload(
        "`x * x`, 1 M ints",
        _ITEMS,
        TINY_NUMBERS,
        CALL,
        (*_PLAIN, "pocketflex-inside", "pocketflex-array", "threads", *PROCESSES),
    ),
    "W3": Workload("20,000 items of 100 us", _ITEMS, EVEN, CALL, (*_HOLDING_GIL, "pocketflex-inside")),
    "W4": Workload("1,000 items, cost 1:1000, dearest last, 4 s", _ITEMS, SKEWED, CALL, _HOLDING_GIL),
    "W5": Workload("80 items of 50 ms", _ITEMS, COARSE, CALL, _HOLDING_GIL),
    "W64": Workload("W3 with 64 workers", _ITEMS, EVEN, CALL, ("pocketflex", "pocketflex-64")),
    "W6r": Workload("row sums, 32,768 rows of 256 MB", _ARRAYS, ROW_SUMS, CALL, (*_LETTING_GO, "pocketflex-array")),
    "W6m": Workload(
        "`np.sqrt(row)`, 32,768 rows of 256 MB", _ARRAYS, ROW_ROOTS, CALL, (*_LETTING_GO, "pocketflex-array")
    ),
    "W6n": Workload("`np.sqrt`, list of 2,000 arrays of 128 KB", _ARRAYS, ARRAYS, CALL, _LETTING_GO),
    "W6n-cold": Workload(
        "W6n, first call of a process", _ARRAYS, ARRAYS, FIRST_CALL, ("serial", "pocketflex", *POOLS), 3
    ),
    "W7i": Workload("`zlib.crc32`, 500 x 1 MB of bytes", _ARRAYS, BYTES_IN, CALL, _LETTING_GO),
    "W7o": Workload("500 x 1 MB of bytes made", _ARRAYS, BYTES_OUT, CALL, _LETTING_GO),
    "W12": Workload("200,000 dicts made", _RECORDS, RECORDS_OUT, CALL, _CARRYING),
    "W13": Workload("200,000 dicts read", _RECORDS, RECORDS_IN, CALL, _CARRYING),
    "W14": Workload("200,000 numbers of numpy made", _RECORDS, NUMBERS_OUT, CALL, _CARRYING),
    "W15": Workload("100,000 objects there and back", _RECORDS, OBJECTS, CALL, _CARRYING),
    "W16": Workload("100,000 named tuples there and back", _RECORDS, ENTRIES, CALL, _CARRYING),
    "W17": Workload("50,000 short arrays of 100 lengths made", _RECORDS, RAMPS_OUT, CALL, _CARRYING),
    "W8": Workload(
        "one item there and back",
        _CALLS,
        ONE,
        ROUND_TRIP,
        ("by-hand", "pocketflex", "pocketflex-inside", "threads", *PROCESSES),
    ),
    "W8-woken": Workload(
        "the same after a pause of 5 ms", _CALLS, ONE, WOKEN_ROUND_TRIP, ("pocketflex", "threads", *POOLS), 3
    ),
    "cold": Workload("first call of a process", _CALLS, ONE, COLD, ("pocketflex", *PROCESSES), 3),
    "cold-second": Workload(
        "second call, another function", _CALLS, ONE, SECOND, ("pocketflex", "pool", "executor", "joblib"), 3
    ),
    "W10": Workload("200,000 coroutines that do nothing", _LOOP, NO_OPS, CALL, ("awaiting", *_AWAITING)),
    "W10-sleep": Workload("10,000 x `sleep(0.01)`, 1,000 at once", _LOOP, NAPS, CALL, _AWAITING),
    "W10-memory": Workload(
        "1 M coroutines that do nothing", _MEMORY, MANY_NO_OPS, GROWTH, ("pocketflex-async", "gather", "pocketflow"), 1
    ),
    "W11-W1": Workload(
        "`str.upper`, 1 M short strings",
        _MEMORY,
        TINY_STRINGS,
        GROWTH,
        ("serial", "pocketflex", "pool", "executor", "joblib", "ray"),
        2,
    ),
    "W11-W6m": Workload(
        "`np.sqrt(row)`, 32,768 rows of 256 MB",
        _MEMORY,
        ROW_ROOTS,
        GROWTH,
        ("serial", "pocketflex", "pocketflex-array", "pool", "joblib", "dask"),
        2,
    ),
}


def select(wanted: list[str]) -> list[str]:
    """Keys of the workloads wanted: ``W6`` and ``W10`` mean all that begin so, nothing means all.

    Raises:
        KeyError: There is no such workload.
    """
    found = []
    for name in wanted:
        matching = [name] if name in WORKLOADS else [key for key in WORKLOADS if key.rstrip("rmnio") == name]
        if not matching:
            raise KeyError(name)
        found += [key for key in WORKLOADS if key in matching or any(key.startswith(f"{one}-") for one in matching)]
    return [key for key in WORKLOADS if key in found] if wanted else list(WORKLOADS)
