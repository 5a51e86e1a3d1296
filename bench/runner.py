"""The process of one peer: ``python -m bench.runner PEER DESCRIPTOR``.

It makes the items, opens the peer, tries forms (Pilot) and measures (Turn), one request at a time, until the pipe
ends. A process each, so that no peer pays for another's threads, heap or crash.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any

import psutil

from .gauges import SAMPLE, Attempt
from .loads.load import Items, Kind, Load
from .messages import Chosen, Figure, Form, Pilot, Refused, Reply, Request, Setting, Turn
from .peers import make_peer
from .peers.peer import LackingError, Peer
from .workloads import WORKLOADS

_SHORT = (
    0.4  # seconds; who is quicker in the pilot gets an untimed call before each turn, as its memory may have cooled
)


_FEW = 4  # items
_PR_SET_PDEATHSIG = 1  # prctl(2)


class Stock:
    """The items of one workload; heavy ones are made anew for each turn, as twelve runners would hold 500 MB each."""

    def __init__(self) -> None:
        self._load: Load | None = None
        self._items: Items = None

    def items(self, load: Load, setting: Setting) -> Items:
        """The items of that load."""
        if load is not self._load:
            self._load, self._items = load, None  # first let go of what was there
            self._items = load.make(setting)
        return self._items

    def tidy(self) -> None:
        """Let go of heavy items."""
        if self._load is not None and self._load.kind is Kind.HEAVY:
            self._load, self._items = None, None


class Runner:
    """Answers requests with one peer."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stock = Stock()
        self._is_open = False

    def answer(self, request: Request) -> Reply:
        """Do what is asked; whatever goes wrong is a reply too."""
        try:
            return self._try_forms(request) if isinstance(request, Pilot) else self._measure(request)
        except LackingError as error:
            return Refused(str(error), is_lacking=True)
        except Exception as error:
            return Refused(f"{type(error).__name__}: {error}".splitlines()[0])
        finally:
            self._stock.tidy()

    def close(self) -> None:
        """End the peer's workers."""
        if self._is_open:
            self._peer.close()

    def _try_forms(self, pilot: Pilot) -> Reply:
        work = WORKLOADS[pilot.work]
        forms = self._peer.forms(work.load)
        if not work.gauge.has_pilot:
            return Chosen(forms[0], is_warmed=False)
        self._open()
        step = work.load.pilot_step
        items = self._stock.items(work.load, pilot.setting)[::step]
        self._peer.map(work.load.task(items[:_FEW]), forms[0], work.load.kind)  # starts the workers
        seconds = {form: self._time(work.load, items, form, 1 if form is forms[0] else SAMPLE) for form in forms}
        best = min(forms, key=seconds.__getitem__)
        return Chosen(best, is_warmed=step == 1 and seconds[best] < _SHORT)

    def _time(self, load: Load, items: Items, form: Form, step: int) -> float:
        begun = perf_counter()
        results = self._peer.map(load.task(items), form, load.kind)
        took = perf_counter() - begun
        load.verify(items, results, step)
        return took

    def _measure(self, turn: Turn) -> Reply:
        work = WORKLOADS[turn.work]
        if work.gauge.is_fresh:
            self._is_open = True  # the gauge opens the peer
        else:
            self._open()
        items = self._stock.items(work.load, turn.setting)
        attempt = Attempt(self._peer, work.load, items, turn.form, turn.is_warmed, turn.setting)
        return Figure(work.gauge.measure(attempt))

    def _open(self) -> None:
        if not self._is_open:
            self._peer.open()
            self._is_open = True


def main(name: str, descriptor: int) -> None:
    """Answer requests until the pipe ends."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a killed race hangs up: the end of the pipe tells the same, gently
    _wake_with_parent()
    os.set_inheritable(descriptor, False)  # only forked workers get it, which end with this process
    pipe: Connection[Any, Any] = Connection(descriptor)
    runner = Runner(make_peer(name))
    try:
        while True:
            pipe.send(runner.answer(pipe.recv()))
    except (EOFError, OSError):
        _wake_children()
        runner.close()


def _wake_with_parent() -> None:
    """Have the kernel wake this process when the race dies.

    It wakes groups that have stopped by itself, but none of which the stop is still on its way.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)


def _wake_children() -> None:
    """The race may have been killed while this tree was stopped; the kernel has woken up no more than this process."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.resume()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
