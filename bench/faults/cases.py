"""The rows of the table of faults: 8 items, of which item 3 is the bad one.

tests/faults/test_table.py holds pocketflex to them; `python -m bench.faults` shows what every pool makes of
them. Plain functions of a module, so that every pool can carry them.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

COUNT, BAD = 8, 3
_HUGE = 1 << 62  # bytes that no machine has


class Harm(Enum):
    """What a bad item does harm to, which says where it can be tried at all."""

    ITEM = "it raises: a failure everywhere"
    WORKER = "it ends the process that runs it"
    CARRYING = "it, or what it gives, cannot go from one process to another"
    TIME = "it does not end"


@dataclass(frozen=True)
class Case:
    """A row.

    Attributes:
        title: As the table has it.
        harm: What it does harm to.
        deed: What the bad item does; None where the item itself is what is bad.
        item: Makes the bad item.
    """

    title: str
    harm: Harm
    deed: Callable[[], Any] | None = None
    item: Callable[[], Any] = lambda: BAD

    @property
    def function(self) -> Callable[[Any], Any]:
        """What is called with each item."""
        return partial(act, self.deed) if self.deed else look

    def items(self) -> list[Any]:
        """All items."""
        return [self.item() if index == BAD else index for index in range(COUNT)]


def act(deed: Callable[[], Any], item: int) -> Any:
    """Do the deed if this is the bad item."""
    return deed() if item == BAD else item


def look(item: Any) -> int:
    """The item, or the number of the bad one, which has arrived."""
    return item if type(item) is int else BAD


class OtherBase(BaseException):
    """No Exception."""


class TwoArguments(Exception):
    """Cannot be made of its own `args`."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")
        self.second = second


class Locked(Exception):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


class Unloadable:
    """Is pickled, and cannot be unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


LOCK = threading.Lock()  # that a thread of the caller holds, in one row


def take_lock(item: int) -> int:
    """The item, once the lock has been had."""
    with LOCK:
        return item


def draw(_item: int) -> float:
    """A random number."""
    import numpy as np

    return float(np.random.random())


def measure(item: Any) -> int:
    """The bytes of an array."""
    return int(item.nbytes)


def stay(path: str, item: int) -> int:
    """Say that it has begun, and do not end."""
    with open(path, "a") as file:
        file.write(f"{item}\n")
    wait()
    return item


def raising(error: Callable[[], BaseException]) -> None:
    """Raise what `error` makes."""
    raise error()


def recurse() -> Any:
    """Use up the stack."""
    return recurse(), None


def nested() -> list[Any]:
    """A list, 100,000 deep."""
    inner: list[Any] = []
    for _ in range(100_000):
        inner = [inner]
    return inner


def kill() -> None:
    """As the out-of-memory killer does."""
    os.kill(os.getpid(), signal.SIGKILL)


def segfault() -> None:
    """Read where nothing is."""
    ctypes.string_at(0)


def wait() -> None:
    """For ever, and the interpreter is free."""
    threading.Event().wait()


def match() -> Any:
    """For ever, and the interpreter is held."""
    return re.match(r"(a+)+$", "a" * 64 + "b")


CASES = {
    "sigkill": Case("SIGKILL", Harm.WORKER, kill),
    "segfault": Case("segfault", Harm.WORKER, segfault),
    "exit": Case("`os._exit(0)`", Harm.WORKER, partial(os._exit, 0)),
    "system-exit": Case("SystemExit", Harm.ITEM, partial(sys.exit, 4)),
    "keyboard-interrupt": Case(
        "KeyboardInterrupt in item", Harm.ITEM, partial(raising, partial(KeyboardInterrupt, "of the item"))
    ),
    "base-exception": Case("other BaseException", Harm.ITEM, partial(raising, OtherBase)),
    "generator-exit": Case("GeneratorExit", Harm.ITEM, partial(raising, GeneratorExit)),
    "stop-iteration": Case("StopIteration", Harm.ITEM, partial(raising, StopIteration)),
    "recursion": Case("RecursionError", Harm.ITEM, recurse),
    "memory": Case("MemoryError", Harm.ITEM, partial(bytes, _HUGE)),
    "argument": Case("unpicklable argument", Harm.CARRYING, item=threading.Lock),
    "argument-loading": Case("argument fails to unpickle", Harm.CARRYING, item=Unloadable),
    "result": Case("unpicklable result", Harm.CARRYING, threading.Lock),
    "result-loading": Case("result fails to unpickle", Harm.CARRYING, Unloadable),
    "exception": Case("unpicklable exception", Harm.ITEM, partial(raising, Locked)),
    "exception-arguments": Case(
        "exception with `__init__(a, b)`", Harm.ITEM, partial(raising, partial(TwoArguments, 1, 2))
    ),
    "deep-result": Case("100 000-deep list result", Harm.CARRYING, nested),
    "hang": Case("hang, 2 s timeout", Harm.TIME, wait),
    "hang-in-c": Case("hang in a C loop holding the GIL", Harm.TIME, match),
}
