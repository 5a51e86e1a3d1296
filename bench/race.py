"""The harness: every peer on the same work, in interleaved rounds.

    for each workload:
        pilot      each peer tries its forms and keeps the best; this warms it up
        round 1    peer A, peer B, peer C ...
        round 2    peer B, peer C ... peer A      nobody always runs right behind the same one
        ...        until there are enough rounds, or, after three, the workload's time is used up

One peer runs at a time; all others are asleep (lane.py). A peer that fails is left out of that workload.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from time import monotonic

from .figures import Entry, Status, Table, ratio
from .lane import Lane, LaneError
from .messages import Chosen, Figure, Pilot, Refused, Reply, Request, Setting, Turn
from .workloads import WORKLOADS, Workload

_LEAST = 3  # rounds, however long they take
_PATIENCE = 90.0  # seconds for an answer; a peer that hangs is out


@dataclass(frozen=True)
class Limits:
    """How long a run may take.

    Attributes:
        rounds: Of each workload, at the most.
        seconds: Of each workload's rounds; three are run in any case.
    """

    rounds: int
    seconds: float


class Race:
    """All workloads of one run, with the lanes that stay warm between them.

    Args:
        peers: Who may take part.
        setting: As all runners get it.
        limits: How long it may take.
    """

    def __init__(self, peers: list[str], setting: Setting, limits: Limits) -> None:
        self._peers = peers
        self._setting = setting
        self._limits = limits
        self._lanes: dict[str, Lane] = {}

    def run(self, key: str) -> Table:
        """Measure one workload."""
        work = WORKLOADS[key]
        begun = monotonic()
        table = {name: Entry() for name in work.peers if name in self._peers}
        turns = {name: turn for name in table if (turn := self._pilot(key, name, table[name]))}
        stop = monotonic() + self._limits.seconds
        for number in range(self._rounds(work)):
            if number >= _LEAST and monotonic() > stop:
                break
            names = [name for name in turns if table[name].status is Status.FINE]
            first = number % max(1, len(names))
            for name in names[first:] + names[:first]:
                self._take(turns[name], name, table[name])
        say(key, work, table, monotonic() - begun)
        return table

    def close(self) -> None:
        """End all lanes."""
        while self._lanes:
            self._lanes.popitem()[1].close()

    def _rounds(self, work: Workload) -> int:
        return min(self._limits.rounds, work.rounds or self._limits.rounds)

    def _pilot(self, key: str, name: str, entry: Entry) -> Turn | None:
        reply = self._ask(name, Pilot(key, self._setting), entry)
        if WORKLOADS[key].gauge.is_fresh:
            self._leave(name)
        if not isinstance(reply, Chosen):
            return None
        entry.form = str(reply.form)
        return Turn(key, reply.form, reply.is_warmed, self._setting)

    def _take(self, turn: Turn, name: str, entry: Entry) -> None:
        is_fresh = WORKLOADS[turn.work].gauge.is_fresh
        if is_fresh:
            self._leave(name)
        reply = self._ask(name, turn, entry)
        if isinstance(reply, Figure):
            entry.figures.append(reply.value)
        if is_fresh:
            self._leave(name)

    def _ask(self, name: str, request: Request, entry: Entry) -> Reply | None:
        if name not in self._lanes:
            self._lanes[name] = Lane(name)
        try:
            reply = self._lanes[name].ask(request, _PATIENCE)
        except LaneError as error:
            entry.fail(str(error))
            self._leave(name)
            return None
        if isinstance(reply, Refused):
            entry.fail(reply.reason, Status.LACKING if reply.is_lacking else Status.FAILED)
        return reply

    def _leave(self, name: str) -> None:
        lane = self._lanes.pop(name, None)
        if lane is not None:
            lane.close()


def say(key: str, work: Workload, table: Table, seconds: float) -> None:
    """One line about a workload on stderr, as it is done; what failed has a line of its own."""
    fine = {name: entry for name, entry in table.items() if entry.is_fine}
    base = fine.get("serial")
    parts = [
        f"{name} {entry.median:.3g} {work.gauge.unit.value}" + (f" ({ratio(base, entry):.2f}x)" if base else "")
        for name, entry in fine.items()
    ]
    print(f"{key} ({seconds:.0f} s): " + ", ".join(parts), file=sys.stderr)
    for name, entry in table.items():
        if not entry.is_fine:
            print(f"{key}: {name}: {entry.status.value}: {entry.reason}", file=sys.stderr, flush=True)
