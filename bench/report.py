"""The figures for people and programs: Markdown and JSON."""

from __future__ import annotations

from typing import Any

from .figures import Entry, Status, Table, ratio
from .gauges import Unit
from .peers import PEERS
from .targets import Rule, State, Verdict, by_hand, judge_all, show_bound
from .workloads import WORKLOADS

Tables = dict[str, Table]


def to_json(tables: Tables, machine: dict[str, Any], rounds: int, is_quick: bool) -> dict[str, Any]:
    """Everything that was measured: figures, spread, forms, verdicts, machine."""
    return {
        "machine": machine,
        "rounds": rounds,
        "quick": is_quick,
        "workloads": {key: _work_json(key, table) for key, table in tables.items()},
        "targets": [_verdict_json(verdict) for verdict in judge_all(tables)],
    }


def _work_json(key: str, table: Table) -> dict[str, Any]:
    work = WORKLOADS[key]
    peers = {name: _entry_json(entry, table) for name, entry in table.items()}
    return {"title": work.title, "unit": work.gauge.unit.value, "peers": peers}


def _entry_json(entry: Entry, table: Table) -> dict[str, Any]:
    if not entry.is_fine:
        return {"status": entry.status.value, "reason": entry.reason}
    figures = {"median": entry.median, "min": min(entry.figures), "max": max(entry.figures), "spread": entry.spread}
    serial = table.get("serial")
    faster = {"speed-up": ratio(serial, entry)} if serial is not None and serial.is_fine else {}
    return {"status": entry.status.value, "form": entry.form, **figures, **faster, "figures": entry.figures}


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    target = verdict.target
    return {
        "workload": target.work,
        "target": str(target),
        "state": verdict.state.value,
        "figure": verdict.figure,
        "rival": verdict.rival,
    }


def to_markdown(tables: Tables, machine: dict[str, Any], rounds: int, is_quick: bool) -> str:
    """The targets, then the figures, a table a group."""
    core = "the native core" if machine["native core"] else "the pure Python core"
    where = f"{machine['cpus']} CPUs, {machine['system']}, Python {machine['python']}, {core}; at most {rounds} rounds."
    warning = ["A smoke test with small sizes: the figures mean nothing."] if is_quick else []
    groups = dict.fromkeys(WORKLOADS[key].group for key in tables)
    figures = [line for group in groups for line in (f"## {group}", "", *_group_lines(group, tables), "")]
    failures = _failure_lines(tables)
    return "\n".join([where, *warning, "", *targets_lines(tables), "", *figures, *failures]).rstrip() + "\n"


def targets_lines(tables: Tables) -> list[str]:
    """The table of targets of the workloads that were asked for, and how many are met."""
    lines = ["| workload | target | figure | against | by hand | |", "| --- | --- | --- | --- | --- | --- |"]
    for verdict in judge_all(tables):
        if verdict.target.work not in tables:
            continue  # not asked for
        work, limit = WORKLOADS[verdict.target.work], by_hand(verdict.target, tables)
        name = f"{verdict.target.work} {work.title}"
        state = f"**{verdict.state.value}**"
        cells = [name, str(verdict.target), _figure(verdict), verdict.rival, _figure(limit), state]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", _count(tables)]


def _count(tables: Tables) -> str:
    states = [verdict.state for verdict in judge_all(tables) if verdict.target.work in tables]
    return "Targets: " + ", ".join(f"{states.count(state)} {state.value}" for state in State) + "."


def _figure(verdict: Verdict) -> str:
    if verdict.figure is None:
        return ""
    if verdict.target.rule is Rule.ABSOLUTE:
        return show_bound(verdict.figure, WORKLOADS[verdict.target.work].gauge.unit)
    return f"{verdict.figure:.2f}" + "x" * (verdict.target.rule is Rule.TIMES)


def _group_lines(group: str, tables: Tables) -> list[str]:
    keys = [key for key in tables if WORKLOADS[key].group == group]
    names = [name for name in PEERS if any(name in tables[key] for key in keys)]
    lines = [
        "| | " + " | ".join(f"{key} {WORKLOADS[key].title}" for key in keys) + " |",
        "| --- " * (len(keys) + 1) + "|",
    ]
    for name in names:
        cells = [_cell(name, tables[key], WORKLOADS[key].gauge.unit) for key in keys]
        lines.append(f"| {PEERS[name].title} | " + " | ".join(cells) + " |")
    return lines


def _cell(name: str, table: Table, unit: Unit) -> str:
    entry = table.get(name)
    if entry is None:
        return ""
    if not entry.is_fine:
        return entry.status.value
    serial = table.get("serial")
    is_compared = serial is not None and serial.is_fine and name != "serial" and unit is Unit.SECONDS
    faster = f", {ratio(serial, entry):.2f}x" if serial is not None and is_compared else ""
    return f"{show_bound(entry.median, unit)}{faster} ±{entry.spread / 2:.0%} ({entry.form})"


def _failure_lines(tables: Tables) -> list[str]:
    lines = [
        f"- {key}, {PEERS[name].title}: {entry.reason}"
        for key, table in tables.items()
        for name, entry in table.items()
        if entry.status is Status.FAILED
    ]
    return ["## Failed", "", *lines] if lines else []
