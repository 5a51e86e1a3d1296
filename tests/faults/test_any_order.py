"""Jobs are begun, read, left, while workers and the spawner are killed and the pool is shut down, in any order.

Whatever comes, every index of a job is delivered exactly once, in order, with its own result or failure. The same is
asked of the decisions alone, without a process, in tests/engine/test_dispatch.py.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

import pocketflex as pf
from pocketflex._engine.by_value import ship_by_value

ship_by_value(sys.modules[__name__])  # workers cannot import this file

_MOST_KILLS = 6  # in a row: a job gives up after eight, and one for each worker, that come to nothing
OFTEN = 1000  # tries: nobody is to be blamed for what is killed here


def work(item: int, bad: int = 7) -> Any:
    if item % bad == bad - 1:
        raise ValueError(f"bad {item}")
    return item if item % 3 else [item]


def seen(outcome: Any) -> Any:
    if isinstance(outcome, pf.Failure):
        return outcome.index, outcome.kind, str(outcome.error)
    return outcome


def expected(item: int) -> Any:
    return (item, "exception", f"bad {item}") if item % 7 == 6 else work(item)


@dataclass
class Stream:
    """A job that is read bit by bit."""

    results: Any
    length: int
    is_ordered: bool
    read: list[Any] = field(default_factory=list)
    is_shut_down: bool = False

    def take(self, count: int) -> bool:
        """Read so many more; False at the end."""
        try:
            for _ in range(count):
                self.read.append(seen(next(self.results)))
        except StopIteration:
            assert len(self.read) == self.length
            return False
        except pf.WorkerDiedError:
            assert self.is_shut_down
            return False
        return True

    def check(self) -> None:
        if self.is_ordered:
            assert self.read == [expected(item) for item in range(len(self.read))]
        else:
            kept = [repr(one) for one in self.read]
            assert len(set(kept)) == len(kept)
            assert set(kept) <= {repr(expected(item)) for item in range(self.length)}


class AnyOrder(RuleBasedStateMachine):
    """What a program does with the pool, and what happens to it meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.streams: list[Stream] = []
        self.kills = 0

    @precondition(lambda self: len(self.streams) < 4)
    @rule(
        length=st.integers(0, 400),
        max_workers=st.integers(1, 3),
        chunksize=st.none() | st.integers(1, 60),
        is_ordered=st.booleans(),
        is_known=st.booleans(),
        timeout=st.none() | st.just(60.0),
    )
    def begin(
        self,
        length: int,
        max_workers: int,
        chunksize: int | None,
        is_ordered: bool,
        is_known: bool,
        timeout: float | None,
    ) -> None:
        def feed() -> Iterator[int]:
            yield from range(length)

        results = pf.parallel_imap(
            work, range(length) if is_known else feed(), max_workers=max_workers, chunksize=chunksize,
            ordered=is_ordered, timeout=timeout, on_error="collect", crash_retries=OFTEN,
        )  # fmt: skip
        self.streams.append(Stream(results, length, is_ordered))

    @precondition(lambda self: self.streams)
    @rule(data=st.data(), count=st.integers(1, 150))
    def go_on(self, data: st.DataObject, count: int) -> None:
        stream = data.draw(st.sampled_from(self.streams))
        if not stream.take(count):
            self.streams.remove(stream)
        stream.check()
        self.kills = 0

    @precondition(lambda self: self.streams)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from(self.streams))
        self.streams.remove(stream)
        stream.results.close()

    @rule(length=st.integers(0, 300), max_workers=st.integers(1, 3), isolate=st.booleans())
    def call(self, length: int, max_workers: int, isolate: bool) -> None:
        found = pf.parallel_map(
            work, range(length), max_workers=max_workers, on_error="collect", crash_retries=OFTEN, isolate=isolate
        )
        assert [seen(one) for one in found] == [expected(item) for item in range(length)]

    @precondition(lambda self: self.kills < _MOST_KILLS)
    @rule(place=st.integers(0, 2), is_spawner=st.sampled_from([False, False, False, True]))
    def kill(self, place: int, is_spawner: bool) -> None:
        self.kills += 3 if is_spawner else 1  # all of its workers end with it
        for spawner in psutil.Process().children():
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                victims = [spawner] if is_spawner else spawner.children()[place : place + 1]
                for victim in victims:
                    os.kill(victim.pid, signal.SIGKILL)

    @precondition(lambda self: self.streams)
    @rule(is_wanted=st.sampled_from([False, False, True]))
    def shut_down(self, is_wanted: bool) -> None:
        """What has come before can still be read, then the streams break off."""
        if is_wanted:
            pf.shutdown()
            while self.streams:
                self.end(self.streams.pop(), is_shut_down=True)

    def end(self, stream: Stream, is_shut_down: bool = False) -> None:
        stream.is_shut_down = is_shut_down
        while stream.take(100):
            pass
        stream.check()

    def teardown(self) -> None:
        for stream in self.streams:
            self.end(stream)
        pf.shutdown()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=15, stateful_step_count=15)
