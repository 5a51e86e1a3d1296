"""The targets, as data, and whether a run meets them: ahead of every process pool, and of the serial loop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from .figures import Entry, Table, best_of, ratio
from .gauges import Unit
from .peers import PEERS, POOLS, PROCESSES
from .workloads import WORKLOADS


class Rule(Enum):
    """How a figure is compared with the bound."""

    TIMES = "times better than the rival, at least"
    SHARE = "of the rival's figure, at the most"
    ABSOLUTE = "in the workload's unit, at the most"


class State(Enum):
    """What became of a target."""

    MET = "met"
    MISSED = "missed"
    UNMEASURED = "not measured"


@dataclass(frozen=True)
class Target:
    """One bound.

    Attributes:
        work: Key of the workload.
        bound: What must be reached.
        rivals: Against the best of these; without any, the figure itself is bounded.
        text: What the rivals are called.
        own: Which pocketflex.
        rule: How it is compared.
    """

    work: str
    bound: float
    rivals: tuple[str, ...] = ()
    text: str = ""
    own: str = "pocketflex"
    rule: Rule = Rule.TIMES

    def __str__(self) -> str:
        who = "" if self.own in ("pocketflex", "pocketflex-async") else f" ({PEERS[self.own].title})"
        if self.rule is Rule.TIMES:
            return f">= {self.bound:g}x {self.text}{who}"
        if self.rule is Rule.SHARE:
            return f"<= {self.bound:.3g} of {self.text}{who}"
        return f"<= {show_bound(self.bound, WORKLOADS[self.work].gauge.unit)}{who}"


@dataclass(frozen=True)
class Verdict:
    """A target and what a run says about it.

    Attributes:
        target: The target.
        state: Met, missed, or not measured.
        figure: What was reached, in the terms of the bound; None if there is none.
        rival: The best rival, where there is one; or why there is no figure.
    """

    target: Target
    state: State
    figure: float | None
    rival: str


_LOOP, _BEST, _BEST_LOCAL = "the loop", "the best process peer", "the best local pool"
_TUNED = ("threads", *PROCESSES)
_ASYNC = "pocketflex-async"
_BY_HAND = {"pocketflex": "by-hand", _ASYNC: "awaiting"}

TARGETS: tuple[Target, ...] = (
    Target("W1", 1.0, ("serial",), _LOOP),
    Target("W1", 5.0, ("pool",), "the best-tuned Pool"),
    Target("W1", 1.25, ("serial",), _LOOP, own="pocketflex-inside"),
    Target("W2", 1.05, ("serial",), _LOOP),
    Target("W2", 3.5, ("pool",), "the best-tuned Pool"),
    Target("W2", 1.35, ("serial",), _LOOP, own="pocketflex-inside"),
    Target("W2", 1.5, ("serial",), _LOOP, own="pocketflex-array"),
    Target("W3", 1.92, ("serial",), _LOOP),
    Target("W3", 1.0, _TUNED, "every tuned peer"),
    Target("W4", 1.93, ("serial",), _LOOP),
    Target("W4", 1.0, _TUNED, "every tuned peer"),
    Target("W5", 1.92, ("serial",), _LOOP),
    Target("W6r", 1.75, ("serial",), _LOOP),
    Target("W6r", 2.8, PROCESSES, _BEST),
    Target("W6m", 8.0, POOLS, _BEST_LOCAL),
    Target("W6m", 5.0, ("ray",), "Ray"),
    Target("W6m", 0.95, ("threads",), "hand-tuned threads"),
    Target("W6n", 15.0, POOLS, _BEST_LOCAL),
    Target("W6n", 9.0, ("ray",), "Ray"),
    Target("W6n-cold", 4.0, POOLS, _BEST_LOCAL),
    Target("W7i", 2.5, PROCESSES, _BEST),
    Target("W7o", 3.0, PROCESSES, _BEST),
    Target("W12", 1.0, PROCESSES, _BEST),
    Target("W13", 1.0, PROCESSES, _BEST),
    Target("W14", 1.0, PROCESSES, _BEST),
    Target("W15", 1.0, PROCESSES, _BEST),
    Target("W16", 1.0, PROCESSES, _BEST),
    Target("W17", 1.0, PROCESSES, _BEST),
    Target("W8", 15.0, ("executor",), "ProcessPoolExecutor"),
    Target("W8-woken", 4.0, ("executor",), "ProcessPoolExecutor"),
    Target("cold", 4.0, ("joblib",), "joblib"),
    Target("cold", 0.150, rule=Rule.ABSOLUTE),
    Target("cold-second", 0.010, rule=Rule.ABSOLUTE),
    Target("W10", 50.0, ("pocketflow",), "PocketFlow's node", own=_ASYNC),
    Target("W10", 150.0, ("aiometer",), "aiometer", own=_ASYNC),
    Target("W10-sleep", 0.13 / 0.122, ("gather",), "gather's time", own=_ASYNC, rule=Rule.SHARE),
    Target("W10-memory", 25e6, own=_ASYNC, rule=Rule.ABSOLUTE),
    Target("W11-W1", 0.6, ("pool",), "Pool's", rule=Rule.SHARE),
    Target("W11-W6m", 0.7, ("serial",), "the loop's", rule=Rule.SHARE),
    Target("W64", 0.95, ("pocketflex",), "two workers", own="pocketflex-64"),
)


def show_bound(value: float, unit: Unit) -> str:
    """A figure of a workload, for people."""
    if unit is Unit.BYTES:
        return f"{value / 1e6:.0f} MB"
    if value >= 1.0:
        return f"{value:.2f} s"
    return f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.0f} us"


def judge(target: Target, tables: dict[str, Table]) -> Verdict:
    """Whether a run meets a target."""
    table = tables.get(target.work, {})
    own = table.get(target.own)
    if own is None or not own.is_fine:
        return Verdict(target, State.UNMEASURED, None, f"{own.status.value}: {own.reason}" if own else "did not run")
    if target.rule is Rule.ABSOLUTE:
        return _verdict(target, own.median, "")
    rival = best_of(table, target.rivals)
    if rival is None:
        return Verdict(target, State.UNMEASURED, None, f"no figure of {target.text}")
    return _verdict(target, _compare(target.rule, table[rival], own), PEERS[rival].title)


def by_hand(target: Target, tables: dict[str, Table]) -> Verdict:
    """Whether two processes by hand, or a loop that awaits, would meet it: what this machine allows."""
    return judge(replace(target, own=_BY_HAND.get(target.own, "")), tables)


def judge_all(tables: dict[str, Table]) -> list[Verdict]:
    """Every target, in order."""
    return [judge(target, tables) for target in TARGETS]


def _compare(rule: Rule, rival: Entry, own: Entry) -> float:
    return ratio(rival, own) if rule is Rule.TIMES else ratio(own, rival)


def _verdict(target: Target, figure: float, rival: str) -> Verdict:
    is_met = figure >= target.bound if target.rule is Rule.TIMES else figure <= target.bound
    return Verdict(target, State.MET if is_met else State.MISSED, figure, rival)
