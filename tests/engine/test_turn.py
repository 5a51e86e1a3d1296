"""Leader and followers: one thread polls for all, whoever is done leaves, somebody takes the lead."""

from __future__ import annotations

import _signal
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pocketflex._engine.exclusive import Shield, look_for_handlers
from pocketflex._engine.turn import Turn

LONG = 10.0  # seconds: no wait of these tests takes that long unless something is wrong


class Bench:
    """A turn whose `poll` gives what the test puts into `news`."""

    def __init__(self) -> None:
        self.news: queue.Queue[list[int] | BaseException] = queue.Queue()
        self.polling = threading.Semaphore(0)  # released each time that a poll begins
        self.leaders: list[str] = []
        self.served: set[int] = set()
        self.mended = 0
        self.asked: list[float | None] = []
        self.at_once = 0
        self.patience: float | None = None
        self.turn = Turn(lambda: self.patience, self._poll, self._serve, self._mend)
        self._threads: list[threading.Thread] = []

    def _poll(self, seconds: float | None) -> list[int]:
        self.asked.append(seconds)
        self.at_once += 1
        assert self.at_once == 1, "two threads poll at the same time"
        self.leaders.append(threading.current_thread().name)
        self.polling.release()
        try:
            found = self.news.get(timeout=LONG)
        finally:
            self.at_once -= 1
        if isinstance(found, BaseException):
            raise found
        return found

    def _serve(self, ready: list[int]) -> None:
        self.served.update(ready)

    def _mend(self) -> None:
        self.mended += 1

    def wait_for(self, number: int, name: str) -> threading.Thread:
        """A thread that leads or follows until `number` has been served."""
        return self.start(name, lambda: self.turn.lead(lambda: number in self.served))

    def start(self, name: str, action: Callable[[], Any]) -> threading.Thread:
        thread = threading.Thread(target=action, name=name)
        self._threads.append(thread)
        thread.start()
        return thread

    def end(self) -> None:
        for thread in self._threads:
            thread.join(LONG)
            assert not thread.is_alive()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.end()


def test_who_is_done_already_does_not_poll(bench: Bench) -> None:
    bench.turn.lead(lambda: True)
    assert bench.asked == []


def test_the_leader_leaves_when_it_is_done_and_a_follower_takes_the_lead(bench: Bench) -> None:
    first = bench.wait_for(1, "first")
    assert bench.polling.acquire(timeout=LONG)
    second = bench.wait_for(2, "second")
    bench.news.put([1])
    first.join(LONG)
    assert bench.polling.acquire(timeout=LONG)
    assert bench.leaders == ["first", "second"]
    bench.news.put([2])
    second.join(LONG)


def test_the_leader_serves_the_followers(bench: Bench) -> None:
    leader = bench.wait_for(1, "leader")
    assert bench.polling.acquire(timeout=LONG)
    followers = [bench.wait_for(number, f"follower {number}") for number in (2, 3, 4)]
    bench.news.put([2, 3, 4])
    for follower in followers:
        follower.join(LONG)
        assert not follower.is_alive()
    assert leader.is_alive()
    assert set(bench.leaders) == {"leader"}
    bench.news.put([1])


def test_a_leader_that_fails_hands_the_lead_over(bench: Bench) -> None:
    failed: list[BaseException] = []

    def lead() -> None:
        try:
            bench.turn.lead(lambda: False)
        except OSError as error:
            failed.append(error)

    first = bench.start("first", lead)
    assert bench.polling.acquire(timeout=LONG)
    bench.wait_for(2, "second")
    bench.news.put(OSError("no descriptor"))
    first.join(LONG)
    assert [str(error) for error in failed] == ["no descriptor"]
    assert bench.polling.acquire(timeout=LONG)
    bench.news.put([2])


def test_the_lock_is_free_while_the_leader_polls(bench: Bench) -> None:
    bench.wait_for(1, "leader")
    assert bench.polling.acquire(timeout=LONG)
    with bench.turn.hold():
        pass
    bench.news.put([1])


@pytest.mark.parametrize(("patience", "left", "asked"), [(None, None, None), (5.0, None, 5.0), (5.0, 1.0, 1.0)])
def test_a_poll_lasts_as_long_as_the_nearest_deadline_allows(
    bench: Bench, patience: float | None, left: float | None, asked: float | None
) -> None:
    from time import monotonic

    bench.patience = patience
    bench.news.put([1])
    bench.turn.lead(lambda: 1 in bench.served, None if left is None else monotonic() + left)
    assert bench.asked == [pytest.approx(asked, abs=0.5)] if asked is not None else bench.asked == [None]


def test_a_deadline_that_has_passed_ends_the_wait_of_a_leader_and_of_a_follower(bench: Bench) -> None:
    bench.turn.lead(lambda: False, 0.0)
    bench.wait_for(1, "leader")
    assert bench.polling.acquire(timeout=LONG)
    bench.turn.lead(lambda: False, 0.0)
    bench.news.put([1])


def test_what_comes_while_the_lock_is_held_by_the_same_thread_is_deferred(bench: Bench) -> None:
    """The garbage collector closes generators in the middle of anything."""
    done: list[str] = []
    with bench.turn.hold():
        assert bench.turn.defer(lambda: done.append("first"))
        assert bench.turn.defer(lambda: bench.turn.defer(lambda: done.append("from a deferred one")) or None)
        assert done == []
    assert done == ["first", "from a deferred one"]


def test_what_comes_without_the_lock_is_not_deferred(bench: Bench) -> None:
    assert not bench.turn.defer(lambda: None)
    bench.wait_for(1, "leader")
    assert bench.polling.acquire(timeout=LONG)
    assert not bench.turn.defer(lambda: None)
    bench.news.put([1])


@pytest.mark.parametrize("place", ["serve", "is_done"])
def test_what_is_deferred_while_serving_is_done_at_the_end(bench: Bench, place: str) -> None:
    done: list[str] = []

    def defer() -> None:
        if not done:
            assert bench.turn.defer(lambda: done.append(place))

    if place == "serve":
        bench.turn._serve = lambda ready: (defer(), bench.served.update(ready))  # type: ignore[func-returns-value]
    bench.news.put([1])

    def is_done() -> bool:
        if place == "is_done":
            defer()
        return 1 in bench.served

    bench.turn.lead(is_done)
    assert set(done) == {place}


def test_a_deferred_action_that_fails_leaves_the_lock_free(bench: Bench) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), bench.turn.hold():
        bench.turn.defer(fail)
    assert not bench.turn.defer(lambda: None)
    with bench.turn.hold():
        pass


def test_many_threads_all_come_to_their_end(bench: Bench) -> None:
    threads = [bench.wait_for(number, f"thread {number}") for number in range(16)]
    for number in reversed(range(16)):
        bench.news.put([number])
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()


class Late(ValueError):
    """What a signal handler of the user's raises."""


def test_handlers_are_there_again_whatever_they_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python runs handlers that wait before `signal.signal` changes anything, so one may raise there."""
    shield, real = Shield(), _signal.signal
    before = {number: _signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM, signal.SIGTERM)}

    def raising(*_: object) -> None:
        raise Late

    try:
        real(signal.SIGALRM, raising)
        real(signal.SIGTERM, raising)
        look_for_handlers()
        for chosen in range(1, 7):  # of three that are replaced, and restored
            calls = iter(range(1, 100))

            def sign(number: int, handler: Any, chosen: int = chosen, calls: Iterator[int] = calls) -> Any:
                if next(calls) == chosen:
                    raise Late
                return real(number, handler)

            monkeypatch.setattr(_signal, "signal", sign)
            with pytest.raises(Late):
                shield.down(shield.up() or [])
            monkeypatch.undo()
            found = [_signal.getsignal(number) for number in before]
            assert found == [before[signal.SIGINT], raising, raising]
    finally:
        for number, handler in before.items():
            real(number, handler)


def test_what_came_meanwhile_is_heard_afterwards() -> None:
    heard: list[int] = []
    before = _signal.getsignal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, lambda number, _: heard.append(number))
    try:
        look_for_handlers()
        shield, inner = Shield(), Shield()
        held = shield.up()
        assert inner.up() is None  # as all is held back already
        signal.raise_signal(signal.SIGALRM)
        signal.raise_signal(signal.SIGALRM)
        assert heard == []
        assert held is not None
        shield.down(held)
        assert heard == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before)
