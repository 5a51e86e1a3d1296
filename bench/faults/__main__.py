"""``python -m bench.faults``: what every pool makes of each fault, as a table."""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .. import machine
from .contenders import CONTENDERS
from .rows import ROWS, Act
from .runner import Cell

RESULTS = Path(__file__).parents[1] / "results"
Found = dict[str, dict[str, dict[str, Any]]]  # by row and pool
LEGEND = """\
8 items, 2 workers, item 3 is the bad one. *n*/8: so many correct results the user can still get; WHOLE: one
exception, the rest is lost; DEAD: later calls fail too; HANG: no answer in {patience:.0f} s (dask {dask:.0f}, ray
{ray:.0f}); none: there is no such option.
"""


def show(row: str, found: dict[str, Any]) -> str:
    """What a cell has found, in a word or two."""
    act = ROWS[row][1]
    if found.get("none"):
        return "none"
    if act is Act.SIGNAL:
        return show_signal(row, found)
    if act is Act.DRAW:
        return {True: "yes", False: "no"}.get(found.get("same", ""), "fails")
    if act is Act.GOOD:
        return "HANG" if found.get("hung") else "ok" if found.get("correct") == 8 else "error"
    if "lost" not in found and "correct" not in found:
        return "HANG" if found.get("hung") else "the caller ends"
    return ("WHOLE" if "lost" in found else f"{found['correct']}/8") + " DEAD" * (not found.get("usable"))


def show_signal(row: str, found: dict[str, Any]) -> str:
    """How a pool ends."""
    if "lost" in found:
        return "fails"
    if row == "interrupt":
        seconds = found["seconds"]
        return "> 15 s" if seconds is None else f"{seconds:.1f} s" + f", {found['left']} left" * bool(found["left"])
    left = f"{found['left']} left" if found["left"] else "clean"
    return left + " + shm" * bool(found["memory"])


def to_markdown(found: Found, pools: list[str], slowness: float) -> str:
    """The table."""
    lines = [
        "| case | " + " | ".join(CONTENDERS[name].title for name in pools) + " |",
        "| --- " * (len(pools) + 1) + "|",
    ]
    for row, cells in found.items():
        lines.append(f"| {ROWS[row][0]} | " + " | ".join(show(row, cells[name]) for name in pools) + " |")
    patience = {name: slowness * listing.patience for name, listing in CONTENDERS.items()}
    legend = LEGEND.format(patience=patience["pool"], dask=patience["dask"], ray=patience["ray"])
    return legend + "\n" + "\n".join(lines) + "\n"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of a run."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description="What every pool makes of each fault.")
    parser.add_argument("--only", metavar="sigkill,hang", help=f"rows: {', '.join(ROWS)}")
    parser.add_argument("--pools", metavar="pool,ray", help=f"of {', '.join(CONTENDERS)}")
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time (default: 1)")
    parser.add_argument("--slowness", type=float, default=1.0, help="wait so many times as long (default: 1)")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the files go")
    options = parser.parse_args(arguments)
    options.only = options.only.split(",") if options.only else list(ROWS)
    options.pools = options.pools.split(",") if options.pools else list(CONTENDERS)
    unknown = {*options.only} - {*ROWS} | {*options.pools} - {*CONTENDERS}
    if unknown:
        parser.error(f"no row or pool {', '.join(sorted(unknown))}")
    return options


def installed(pools: list[str]) -> list[str]:
    """The pools that can be imported; a line about each that cannot."""
    missing = [name for name in pools if CONTENDERS[name].package and find_spec(CONTENDERS[name].package) is None]
    for name in missing:
        print(f"{name}: skipped, {CONTENDERS[name].package} is not installed", file=sys.stderr)
    return [name for name in pools if name not in missing]


def main(arguments: list[str] | None = None) -> None:
    """Run every cell, print the table, keep it."""
    options = parse(arguments)
    pools = installed(options.pools)
    found: Found = {row: {} for row in options.only}

    def run(cell: tuple[str, str]) -> None:
        row, name = cell
        found[row][name] = Cell(name, row, options.slowness).run()
        print(f"{row} {name}: {show(row, found[row][name])}", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(options.jobs) as threads:
        list(threads.map(run, [(row, name) for row in options.only for name in pools]))
    text = to_markdown(found, pools, options.slowness)
    options.results.mkdir(parents=True, exist_ok=True)
    figures = {"machine": machine.describe(), "cells": found}
    (options.results / "faults.json").write_text(json.dumps(figures, indent=1) + "\n")
    (options.results / "faults.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
