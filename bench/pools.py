"""How does `parallel_map` compare with the pools that people use? Peers at their best chunk size, pocketflex untuned.

Every peer does the same work in the same run: interleaved rounds after a warm-up, results verified,
medians. The table shows the time and the speed-up over the serial list comprehension.
"""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from .peers import Runner, open_peers
from .workloads import Workload, all_workloads

_SELF_SIZING = ("serial", "pocketflex")
RESULTS = Path(__file__).parent / "results" / "pools.json"


def measure(rounds: int = 7) -> dict[str, Any]:
    """Run everything and return the figures."""
    with open_peers() as peers:
        tables = {workload.name: _measure_one(workload, peers, rounds) for workload in all_workloads()}
    return {"machine": _machine(), "rounds": rounds, "seconds": tables}


def _measure_one(workload: Workload, peers: dict[str, Runner], rounds: int) -> dict[str, Any]:
    expected = peers["serial"](workload, 0)
    entries = [(name, size) for name in peers for size in _sizes(name, workload)]
    seconds: dict[tuple[str, int], list[float]] = {entry: [] for entry in entries}
    for number in range(rounds + 1):  # the first round warms up and does not count
        for entry in entries[number:] + entries[:number]:  # nobody always runs right behind the same peer
            begun = perf_counter()
            results = peers[entry[0]](workload, entry[1])
            seconds[entry].append(perf_counter() - begun)
            assert results == expected, f"{entry[0]} gave a wrong answer on {workload.name}"
            if number == 0:
                seconds[entry].clear()
    return {name: _best(name, seconds) for name in peers}


def _sizes(name: str, workload: Workload) -> tuple[int, ...]:
    return (0,) if name in _SELF_SIZING else workload.chunksizes


def _best(name: str, seconds: dict[tuple[str, int], list[float]]) -> dict[str, Any]:
    """The figures of a peer at its best chunk size; ratios are taken within each round."""
    entry = min((entry for entry in seconds if entry[0] == name), key=lambda entry: median(seconds[entry]))
    ratios = [serial / own for serial, own in zip(seconds["serial", 0], seconds[entry], strict=True)]
    spread = {"median": median(seconds[entry]), "min": min(seconds[entry]), "max": max(seconds[entry])}
    return {**spread, "speed-up": median(ratios), "chunksize": entry[1] or "auto"}


def _machine() -> dict[str, Any]:
    import psutil

    packages = ("pocketflex", "numpy", "joblib", "cloudpickle")
    return {
        "python": sys.version.split()[0],
        "system": platform.platform(terse=True),
        "cpus": psutil.cpu_count(),
        "versions": {name: _version(name) for name in packages},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def render(figures: dict[str, Any]) -> str:
    """The figures as a Markdown table: milliseconds and speed-up over the serial loop."""
    tables: dict[str, Any] = figures["seconds"]
    names = list(next(iter(tables.values())))
    lines = ["| workload | " + " | ".join(names) + " |", "| --- " * (len(names) + 1) + "|"]
    for workload, entries in tables.items():
        cells = [f"{entries[n]['median'] * 1e3:.0f} ms, {entries[n]['speed-up']:.2f}x" for n in names]
        lines.append(f"| {workload} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, keep the figures."""
    figures = measure()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n")
    print(render(figures))


if __name__ == "__main__":
    main()
