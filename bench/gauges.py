"""How a workload is measured: each gauge runs a peer on a load once, checks the answer and gives one figure."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from statistics import median
from time import perf_counter

from .loads.functions import decrement, increment
from .loads.load import Items, Load
from .messages import Form, Setting
from .peers.peer import Peer
from .pss import Growth

_CALLS = 300  # of a round trip, or as many as go into the seconds below
_PATIENCE = 1.5
_PAUSE = 0.005  # longer than anybody spins
SAMPLE = 16  # every so manieth result is checked; the first form of the pilot is checked in full


@dataclass(frozen=True)
class Attempt:
    """What a gauge is given: the peer, the load with its items, the form, and whether an untimed call comes first."""

    peer: Peer
    load: Load
    items: Items
    form: Form
    is_warmed: bool
    setting: Setting


class Unit(Enum):
    """What figures are in."""

    SECONDS = "s"
    BYTES = "B"


@dataclass(frozen=True)
class Gauge:
    """A way to measure.

    Attributes:
        measure: Gives the figure of one attempt.
        unit: What it is in; less is better.
        is_fresh: Each turn has a runner of its own, and the peer is not opened before.
        has_pilot: Whether forms are tried before; else the peer's first form counts.
    """

    measure: Callable[[Attempt], float]
    unit: Unit = Unit.SECONDS
    is_fresh: bool = False
    has_pilot: bool = True


def time_call(attempt: Attempt) -> float:
    """Seconds of one call on all items; what comes before and after does not count."""
    task = attempt.load.task(attempt.items)
    if attempt.is_warmed:
        attempt.peer.map(task, attempt.form, attempt.load.kind)
    gc.collect()
    begun = perf_counter()
    results = attempt.peer.map(task, attempt.form, attempt.load.kind)
    took = perf_counter() - begun
    attempt.load.verify(attempt.items, results, SAMPLE)
    return took


def time_first_call(attempt: Attempt) -> float:
    """`time_call`, with the start of the pool."""
    task = attempt.load.task(attempt.items)
    begun = perf_counter()
    attempt.peer.open()
    results = attempt.peer.map(task, attempt.form, attempt.load.kind)
    took = perf_counter() - begun
    attempt.load.verify(attempt.items, results, SAMPLE)
    return took


def time_round_trip(attempt: Attempt, pause: float = 0.0) -> float:
    """Seconds from one item to its result: the median of many calls, one after another."""
    calls, seconds = attempt.setting.size(_CALLS, 20), list[float]()
    stop = perf_counter() + _PATIENCE
    while len(seconds) < calls and (len(seconds) < 5 or perf_counter() < stop):
        if pause:  # to sleep for no time at all takes 60 us, in which workers may fall asleep
            time.sleep(pause)
        begun = perf_counter()
        result = attempt.peer.one(increment, 1)
        seconds.append(perf_counter() - begun)
        _check(result, 2)
    return median(seconds[1:])


def time_woken_round_trip(attempt: Attempt) -> float:
    """`time_round_trip` with a pause before each call, so that workers which spin for a while are asleep."""
    return time_round_trip(attempt, _PAUSE)


def time_cold(attempt: Attempt) -> float:
    """Seconds from nothing but the imported package to the first result."""
    begun = perf_counter()
    attempt.peer.open()
    result = attempt.peer.one(increment, 1)
    took = perf_counter() - begun
    _check(result, 2)
    return took


def time_second(attempt: Attempt) -> float:
    """Seconds of the second call, of another function."""
    time_cold(attempt)
    begun = perf_counter()
    result = attempt.peer.one(decrement, 1)
    took = perf_counter() - begun
    _check(result, 0)
    return took


def weigh_call(attempt: Attempt) -> float:
    """Bytes by which the tree of processes grows at its peak: items are there, the pool is warm, results stay alive."""
    attempt.peer.open()
    attempt.peer.map(attempt.load.task(attempt.items[:64]), attempt.form, attempt.load.kind)
    gc.collect()
    task = attempt.load.task(attempt.items)
    with Growth() as growth:
        results = attempt.peer.map(task, attempt.form, attempt.load.kind)
    attempt.load.verify(attempt.items, results, SAMPLE)
    return growth.bytes


def _check(result: int, expected: int) -> None:
    if result != expected:
        raise ValueError(f"{result} instead of {expected}")


CALL = Gauge(time_call)
FIRST_CALL = Gauge(time_first_call, is_fresh=True, has_pilot=False)
ROUND_TRIP = Gauge(time_round_trip, has_pilot=False)
WOKEN_ROUND_TRIP = Gauge(time_woken_round_trip, has_pilot=False)
COLD = Gauge(time_cold, is_fresh=True, has_pilot=False)
SECOND = Gauge(time_second, is_fresh=True, has_pilot=False)
GROWTH = Gauge(weigh_call, Unit.BYTES, is_fresh=True, has_pilot=False)
