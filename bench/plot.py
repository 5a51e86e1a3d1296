"""A picture of a run: the speed-up over the serial loop, a line a workload, a dot a peer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .figures import Table, ratio
from .gauges import Unit
from .peers import PEERS, PROCESSES
from .workloads import WORKLOADS

_OWN, _OTHER, _BEST = "#c2410c", "#b8b8b8", "#1f4e79"


def draw(tables: dict[str, Table], paths: list[Path]) -> None:
    """Write the picture to each of `paths`, in the format that the name says.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
    matplotlib.rcParams["svg.hashsalt"] = "pocketflex"  # the same figures give the same file
    from matplotlib import pyplot

    timed = {key: table for key, table in tables.items() if WORKLOADS[key].gauge.unit is Unit.SECONDS}
    shown = {key: speeds for key, table in timed.items() if (speeds := speed_ups(table))}
    figure, axes = pyplot.subplots(figsize=(9, 1.4 + 0.5 * len(shown)), layout="constrained")
    for line, speeds in enumerate(shown.values()):
        _draw_line(axes, line, speeds)
    _label(axes, list(shown))
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def speed_ups(table: Table) -> dict[str, float]:
    """Speed-up over the serial loop of each peer that has a figure; nothing where there is no loop or no rival."""
    serial = table.get("serial")
    if serial is None or not serial.is_fine:
        return {}
    speeds = {name: ratio(serial, entry) for name, entry in table.items() if entry.is_fine and name != "serial"}
    return speeds if "pocketflex" in speeds else {}


def _draw_line(axes: Any, line: int, speeds: dict[str, float]) -> None:
    pools = {name: speeds[name] for name in PROCESSES if name in speeds}
    others = [speed for name, speed in speeds.items() if not name.startswith("pocketflex")]
    axes.plot(others, [line] * len(others), "o", color=_OTHER, markersize=6, zorder=2)
    if pools:
        best = max(pools, key=pools.__getitem__)
        axes.plot(pools[best], line, "o", color=_BEST, markersize=8, zorder=3)
        axes.annotate(PEERS[best].title, (pools[best], line), (0, 7), textcoords="offset points", **_SMALL)
    for name in ("pocketflex-array", "pocketflex-inside"):
        if name in speeds:
            axes.plot(speeds[name], line, "D", color=_OWN, markerfacecolor="white", markersize=6, zorder=4)
    axes.plot(speeds["pocketflex"], line, "D", color=_OWN, markersize=9, zorder=5)
    text = f"{speeds['pocketflex']:.2f}x"
    axes.annotate(text, (speeds["pocketflex"], line), (0, -13), textcoords="offset points", color=_OWN, **_SMALL)


_SMALL: dict[str, Any] = {"fontsize": 8, "ha": "center"}


def _label(axes: Any, keys: list[str]) -> None:
    axes.set_xscale("log")
    ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
    axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(keys)), [f"{key}  {WORKLOADS[key].title.replace('`', '')}" for key in keys])
    axes.set_ylim(len(keys) - 0.4, -0.6)
    axes.axvline(1, color="black", linewidth=1, zorder=1)
    axes.set_xlabel("speed-up over the list comprehension (log scale, 2 workers)")
    axes.grid(axis="x", color="#e6e6e6", zorder=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    marks = [("D", _OWN, _OWN, "pocketflex"), ("D", _OWN, "white", "pocketflex with an option")]
    marks += [("o", _BEST, _BEST, "best other pool"), ("o", _OTHER, _OTHER, "others")]
    for shape, edge, face, text in marks:
        axes.plot([], [], shape, color=edge, markerfacecolor=face, label=text)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.4, 1.0 + 0.9 / (len(keys) + 1)), ncols=4, frameon=False, fontsize=9
    )
