"""``python -m bench``: measure, judge the targets, keep the figures."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from . import machine, plot, report, workloads
from .figures import Table
from .loads.functions import calibrate
from .messages import Setting
from .peers import ALWAYS, PEERS
from .race import Limits, Race

RESULTS = Path(__file__).parent / "results"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of a run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="pocketflex and its peers on the same work.")
    parser.add_argument("--only", type=_names, default=[], metavar="W2,W3", help="workloads; W6 means all of W6")
    parser.add_argument("--peers", type=_names, metavar="pool,joblib", help="rivals of pocketflex and the loop")
    parser.add_argument("--rounds", type=int, default=5, help="rounds at the most (default: 5)")
    parser.add_argument("--seconds", type=float, default=20, help="for the rounds of a workload; 3 rounds in any case")
    parser.add_argument("--quick", action="store_true", help="small sizes, two rounds: a smoke test")
    parser.add_argument("--name", help="of the files in bench/results/ (default: latest, or quick)")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where they go")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the picture there too: docs/performance.svg")
    parser.add_argument("--list", action="store_true", help="show workloads and peers, and end")
    options = parser.parse_args(arguments)
    try:
        options.only = workloads.select(options.only)
    except KeyError as error:
        parser.error(f"no workload {error}; there are {', '.join(workloads.WORKLOADS)}")
    unknown = set(options.peers or []) - set(PEERS)
    if unknown:
        parser.error(f"no peer {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    return options


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def list_all() -> str:
    """The workloads and the peers, as ``--list`` shows them."""
    lines = [f"{key:12} {work.title}" for key, work in workloads.WORKLOADS.items()]
    marks = {True: "", False: "   (not installed)"}
    return "\n".join(
        [*lines, ""] + [f"{name:18} {peer.title}{marks[peer.is_installed]}" for name, peer in PEERS.items()]
    )


def choose_peers(wanted: list[str] | None) -> list[str]:
    """Who takes part: the loop, pocketflex, and the rivals wanted, or all; a line about each that is missing."""
    chosen = [name for name in PEERS if wanted is None or name in wanted or name in ALWAYS]
    for name in chosen:
        if not PEERS[name].is_installed:
            print(f"{name}: skipped, {PEERS[name].distribution} is not installed", file=sys.stderr)
    return [name for name in chosen if PEERS[name].is_installed]


def measure(options: argparse.Namespace, tables: dict[str, Table]) -> None:
    """Run every workload wanted, and put what it gives into `tables`."""
    rounds = min(2, options.rounds) if options.quick else options.rounds
    setting = Setting(options.quick, calibrate())
    race = Race(choose_peers(options.peers), setting, Limits(rounds, options.seconds))
    try:
        for key in options.only:
            tables[key] = race.run(key)
    finally:
        race.close()


def keep(options: argparse.Namespace, tables: dict[str, Table]) -> str:
    """Write the files and return the Markdown."""
    where = machine.describe()
    stem = options.results / (options.name or ("quick" if options.quick else "latest"))
    options.results.mkdir(parents=True, exist_ok=True)
    figures = report.to_json(tables, where, options.rounds, options.quick)
    text = report.to_markdown(tables, where, options.rounds, options.quick)
    stem.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    stem.with_suffix(".md").write_text(text)
    try:
        plot.draw(tables, [stem.with_suffix(".svg"), *([options.plot] if options.plot else [])])
    except ImportError as error:
        print(f"no picture: {error}", file=sys.stderr)
    return text


def main(arguments: list[str] | None = None) -> None:
    """Do what the arguments say."""
    options = parse(arguments)
    if options.list:
        print(list_all())
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the lanes are asleep: they must be ended by us
    tables: dict[str, Table] = {}
    try:
        measure(options, tables)
    except KeyboardInterrupt:
        sys.exit("interrupted: nothing is kept")
    print(keep(options, tables), end="")


if __name__ == "__main__":
    main()
