"""All rows of the table: those of cases.py, and those that are about the caller's process and the machine."""

from __future__ import annotations

import signal
from enum import Enum

from .cases import CASES, Harm


class Act(Enum):
    """What is done in a cell of the row."""

    RUN = "8 items, one of them bad; then a call of good ones"
    LIMIT = "as RUN, of items that have a timeout"
    GOOD = "8 good items, where something else is amiss"
    DRAW = "random numbers"
    SIGNAL = "a signal while items run"


SPECIAL = {
    "nested": ("item calls the engine", Act.GOOD),
    "lock": ("fork while a thread holds a lock", Act.GOOD),
    "shm": ("100 MB args, `/dev/shm` of 64 MB", Act.GOOD),
    "descriptors": ("`ulimit -n 24`", Act.GOOD),
    "interrupt": ("Ctrl-C", Act.SIGNAL),
    "terminate": ("parent SIGTERM, 10 s later", Act.SIGNAL),
    "kill": ("parent SIGKILL, 10 s later", Act.SIGNAL),
    "random": ("same numpy random numbers in items", Act.DRAW),
}
SIGNALS = {"interrupt": signal.SIGINT, "terminate": signal.SIGTERM, "kill": signal.SIGKILL}
ROWS: dict[str, tuple[str, Act]] = {
    name: (case.title, Act.LIMIT if case.harm is Harm.TIME else Act.RUN) for name, case in CASES.items()
} | SPECIAL
