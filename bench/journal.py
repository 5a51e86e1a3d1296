"""What `resume` costs: items of a millisecond with a journal and without, and what its parts take.

    python -m bench.journal [seconds]

Both kinds of call take turns, and of each pair two figures are taken. By the clock: the ratio of the two times, which
means something on a machine that does nothing else. By the CPU: what this process computed more with a journal,
for each item of 1 ms; as two workers use all of two CPUs, that is what the clock would show. The parts are measured
alone; SQLite beside them does what it would have to do in the place of the log.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np

import pocketflex as pf
from pocketflex.journal.digests import digest_item
from pocketflex.journal.logfile import LogFile
from pocketflex.journal.values import encode

from .loads.functions import burn, calibrate

_ITEMS = 1500
_WORKERS = 2
_SECONDS = 1e-3  # of an item
_RECORD = {"name": "item", "size": 1234, "score": 0.5}


def record(turns: int, n: int) -> dict[str, Any]:
    """A millisecond, and a small dict."""
    burn(turns)
    return {**_RECORD, "size": n}


def rows(turns: int, n: int) -> Any:
    """A millisecond, and 128 KB."""
    burn(turns)
    return np.full(16384, float(n))


def tiny(n: int) -> int:
    """Nothing."""
    return n + 1


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and seconds that this process computed."""
    begun, computed = perf_counter(), process_time()
    function()
    return perf_counter() - begun, process_time() - computed


def compare(function: Callable[[Any], Any], seconds: float, folder: Path) -> str:
    """What a journal adds to the time of a call, by the clock and by the CPU."""
    path, until = folder / "run.journal", perf_counter() + seconds
    clock: list[float] = []
    cpu: list[float] = []

    def without() -> object:
        return pf.parallel_map(function, range(_ITEMS), max_workers=_WORKERS)

    def with_journal() -> object:
        return pf.parallel_map(function, range(_ITEMS), max_workers=_WORKERS, resume=path)

    without()
    with_journal()  # imports what it needs
    path.unlink()
    while len(clock) < 3 or perf_counter() < until:
        calls = [without, with_journal] if len(clock) % 2 else [with_journal, without]
        times = {call: timed(call) for call in calls}
        clock.append(times[with_journal][0] / times[without][0] - 1)
        cpu.append((times[with_journal][1] - times[without][1]) / (_ITEMS * _SECONDS))
        path.unlink()
    return f"{shown(clock)} by the clock, {shown(cpu)} by the CPU ({len(clock)} pairs)"


def shown(shares: list[float]) -> str:
    """Median and half of the range, in per cent."""
    return f"{100 * median(shares):+5.1f} % ± {50 * (max(shares) - min(shares)):.1f}"


def each(function: Callable[[], object], times: int) -> float:
    """Microseconds of one call."""
    return timed(lambda: [function() for _ in range(times)])[0] / times * 1e6


def parts(folder: Path) -> None:
    """Print what the parts take."""
    log = LogFile(str(folder / "parts"))
    list(log.frames(0))
    body = bytes(28) + encode(_RECORD)
    array = np.zeros(16384)
    print(f"digest of an int          {each(lambda: digest_item(7), 20000):8.1f} us")
    print(f"encode a small dict       {each(lambda: encode(_RECORD), 20000):8.1f} us")
    print(f"encode 128 KB of floats   {each(lambda: encode(array), 500):8.1f} us")
    print(f"append 1 record           {each(lambda: log.append([(2, [body])]), 5000):8.1f} us")
    print(f"append 20 records         {each(lambda: log.append([(2, [body])] * 20), 1000) / 20:8.1f} us each")

    def append_and_sync() -> None:
        log.append([(2, [bytes(100_000)])])
        log.sync()

    print(f"100 KB and a sync         {each(append_and_sync, 20):8.1f} us")
    log.close()
    sqlite(folder, body)


def sqlite(folder: Path, body: bytes) -> None:
    """Print what SQLite takes for the same, without waiting for the disk."""
    base = sqlite3.connect(folder / "base", isolation_level=None)
    base.execute("pragma journal_mode=wal")
    base.execute("pragma synchronous=off")
    base.execute("create table results (section int, item int, digest blob, value blob, primary key (section, item))")
    index = iter(range(10**9))

    def insert(count: int) -> None:
        base.execute("begin")
        values = [(0, next(index), body[:16], body[16:]) for _ in range(count)]
        base.executemany("insert into results values (?, ?, ?, ?)", values)
        base.execute("commit")

    print(f"SQLite, 1 record          {each(lambda: insert(1), 2000):8.1f} us")
    print(f"SQLite, 20 records        {each(lambda: insert(20), 500) / 20:8.1f} us each")
    base.close()


def reading(folder: Path) -> None:
    """Print how fast a finished journal is read."""
    path, count = folder / "whole", 100_000
    first = timed(lambda: pf.parallel_map(tiny, range(count), max_workers=_WORKERS, resume=path))[0]
    again = timed(lambda: pf.parallel_map(tiny, range(count), max_workers=_WORKERS, resume=path))[0]
    size = os.path.getsize(path) / count
    print(f"tiny items with a journal {first / count * 1e6:8.1f} us each, {size:.0f} bytes each")
    print(f"all from the journal      {again / count * 1e6:8.1f} us each")


def main(seconds: float) -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory(dir=".") as name:  # not /tmp, which may be memory
        folder, turns = Path(name), calibrate(_SECONDS)
        kinds: dict[str, Callable[..., Any]] = {"a small dict": record, "128 KB of floats": rows}
        for label, function in kinds.items():
            print(f"items of 1 ms, {label:17} {compare(partial(function, turns), seconds, folder)}", flush=True)
        parts(folder)
        reading(folder)
    pf.shutdown()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 30)
