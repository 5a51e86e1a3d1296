"""What a death means, in words, and what of it goes with the error of the item that is to blame."""

from __future__ import annotations

import os
import signal

from ..outcome import RemoteTraceback
from .orders import Death

_PACKAGE = f'  File "{os.path.dirname(os.path.dirname(__file__))}{os.sep}'
_EXAMPLES = f"{_PACKAGE}examples{os.sep}"
_BOOT = '  File "<string>", line 1 in <module>'  # the lowest frame of the spawner
_HINTS = {"SIGSEGV": "segmentation fault", "SIGABRT": "aborted", "SIGBUS": "bus error", "SIGFPE": "arithmetic fault"}
_KILLS = {
    True: "memory ran out: it is the kernel that has killed it",
    False: "killed, and not by the kernel for want of memory",
    None: "killed, perhaps because memory ran out",
}


def name_exit(death: Death) -> str:
    """How a worker has ended, in words."""
    if death.code >= 0:
        return f"exit code {death.code}"
    try:
        name = signal.Signals(-death.code).name
    except ValueError:
        name = f"signal {-death.code}"
    hint = _KILLS[death.is_starved] if name == "SIGKILL" else _HINTS.get(name)
    return f"{name} ({hint})" if hint else name


def explain(error: BaseException, death: Death) -> None:
    """Add what is known of a worker's end to an error: its memory as a note, its last stack as the cause."""
    known = [f"peak memory of its worker: {death.peak / 1e6:.0f} MB"] if death.peak else []
    if lines := _item_frames(death.stack):
        error.__cause__ = RemoteTraceback("\n".join(["the worker's last stack (most recent call first):", *lines]))
    else:
        known.append("no Python stack is left of it")
    error.add_note("; ".join(known))


def _item_frames(stack: str) -> list[str]:
    """The frames of an item, without those of the loop that called it; all, where the item was none of ours."""
    lines = found = [line for line in stack.splitlines() if line.startswith("  ")]
    while lines and (lines[-1] == _BOOT or (lines[-1].startswith(_PACKAGE) and not lines[-1].startswith(_EXAMPLES))):
        lines = lines[:-1]
    return lines or found
