"""One cell in a process of its own: ``python -m bench.faults.cell POOL ROW FILE``.

It writes a line of JSON for each thing that it finds out; what it does not come to, the table reads from the lines
that are missing. FILE is where items say that they have begun.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import threading
from functools import partial
from typing import Any

from .cases import BAD, CASES, COUNT, LOCK, draw, measure, stay, take_lock
from .contenders import CONTENDERS, Contender, Raised
from .rows import ROWS, Act

_TIMEOUT = 2.0  # seconds


def tell(**found: Any) -> None:
    """Write a line."""
    print(json.dumps(found), flush=True)


def count(found: list[Any]) -> int:
    """How many results are what they must be; the bad item counts if it has come through."""
    return sum(type(one) is int and one == index for index, one in enumerate(found))


def judge(found: list[Any]) -> None:
    """Tell how many are right, and what became of the others."""
    failed = {index: type(one.error).__name__ for index, one in enumerate(found) if isinstance(one, Raised)}
    tell(correct=count(found), failed=failed)


def run_bad(pool: Contender, row: str, timeout: float | None) -> None:
    """Run the items of a case, then good ones."""
    case = CASES[row]
    try:
        judge(pool.run(case.function, case.items(), timeout))
    except BaseException as error:
        tell(lost=f"{type(error).__name__}: {error}"[:200])
    try:
        tell(usable=count(pool.run(abs, list(range(COUNT)))) == COUNT)
    except BaseException as error:
        tell(usable=False, why=f"{type(error).__name__}: {error}"[:200])


def call_again(name: str, item: int) -> int:
    """What an item does that calls the engine."""
    found = CONTENDERS[name].make().run(abs, [item, item])
    if any(isinstance(one, Raised) for one in found):
        raise found[0].error
    return int(found[1])


def run_good(name: str, row: str) -> None:
    """Run good items where something is amiss."""
    try:
        if row == "lock":
            held = threading.Event()
            threading.Thread(target=hold, args=(held,), daemon=True).start()
            held.wait()
            judge(CONTENDERS[name].make().run(take_lock, list(range(COUNT))))
        elif row == "shm":
            import numpy as np

            items = [np.full(12_500_000, index, "f8") for index in range(2)]
            found = CONTENDERS[name].make().run(measure, items)
            tell(correct=COUNT if found == [100_000_000] * 2 else 0)
        else:
            if row == "descriptors":
                __import__(CONTENDERS[name].package or "pocketflex")  # what it imports may need more at once
                resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
            function = partial(call_again, name) if row == "nested" else abs
            judge(CONTENDERS[name].make().run(function, list(range(COUNT))))
    except BaseException as error:
        tell(lost=f"{type(error).__name__}: {error}"[:200])


def hold(held: threading.Event) -> None:
    """Hold the lock for good."""
    with LOCK:
        held.set()
        threading.Event().wait()


def main(name: str, row: str, path: str) -> None:
    """Do what the row says."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what runs in its background ignore it
    act = ROWS[row][1]
    if act is Act.LIMIT and not CONTENDERS[name].make.has_timeout:
        tell(none=True)
    elif act is Act.GOOD:
        run_good(name, row)
    else:
        pool = CONTENDERS[name].make()
        if act is Act.SIGNAL:
            pool.run(partial(stay, path), list(range(COUNT)))
        elif act is Act.DRAW:
            found = pool.run(draw, list(range(COUNT)))
            tell(same=len(set(found)) < COUNT)
        else:
            run_bad(pool, row, _TIMEOUT if act is Act.LIMIT else None)


if __name__ == "__main__":
    main(*sys.argv[1:])

assert BAD < COUNT
