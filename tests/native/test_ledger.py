"""Claims: who gets what, alone and against others, and what a death leaves behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from array import array
from collections.abc import Iterator
from mmap import mmap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .test_columns import grown

OPEN, CLOSED, PUBLISHED, CLAIMED, TOTAL, WORKERS = range(6)
ENTRIES, OWNERS, WORDS, FREE = 8, 520, 4616, 0xFFFF
GARBAGE = [0, 1, -1, 63, 64, 65, 2**63 - 1, -(2**63), FREE, 1 << 16, 2**32, -(2**62)]


class Book:
    """A ledger in memory, with the descriptor that is locked."""

    def __init__(self, core: Any, words: Any, lock: int) -> None:
        self.core = core
        self.words = words
        self.lock = lock
        words[:6] = array("q", [0, 0, 0, 0, -1, 2])

    def publish(self, position: int, number: int, count: int, grain: int, start: int = 0) -> None:
        at = ENTRIES + 8 * position
        self.words[at : at + 4] = array("q", [number, start, count, grain])
        self.core.publish(self.words, position, self.lock)

    def claim(self, slot: int, want: int) -> Any:
        return self.core.claim(self.words, slot, want, self.lock)

    def hand_back(self, position: int, first: int, grains: int, slot: int) -> None:
        self.core.hand_back(self.words, position, first, grains, slot, self.lock)

    def owned(self, slot: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = self.core.owned(self.words, slot)
        return found

    def owners(self, position: int) -> list[int]:
        return [word & 0xFFFF for word in self.words[OWNERS + 64 * position : OWNERS + 64 * position + 64]]


@pytest.fixture
def lock() -> Iterator[int]:
    fd = os.memfd_create("lock")
    yield fd
    os.close(fd)


@pytest.fixture
def book(core: Any, lock: int) -> Book:
    return Book(core, array("q", bytes(8 * WORDS)), lock)


def test_both_have_the_same_number_of_words(core: Any) -> None:
    assert core.LEDGER_WORDS == WORDS


def test_an_entry_is_claimed_grain_by_grain(book: Book) -> None:
    book.publish(5, 9, count=25, grain=10)
    assert (book.words[OPEN], book.words[PUBLISHED]) == (1 << 5, 25)
    assert book.owners(5)[:4] == [FREE, FREE, FREE, 0]
    assert [book.claim(slot, 1) for slot in (3, 0, 1022)] == [(5, 0, 1), (5, 1, 1), (5, 2, 1)]
    assert book.claim(4, 1) is None
    assert (book.words[OPEN], book.words[CLAIMED]) == (0, 25)
    assert book.words[OWNERS + 64 * 5] == 9 << 16 | 3
    assert book.owned(1022) == [(5, 2)]
    assert book.owned(4) == []


@pytest.mark.parametrize(
    ("want", "grains"), [(-(2**63), 1), (-5, 1), (0, 1), (9, 1), (10, 1), (29, 2), (30, 3), (640, 64), (2**63 - 1, 64)]
)
def test_a_claim_has_about_what_is_wanted(book: Book, want: int, grains: int) -> None:
    book.publish(0, 1, count=635, grain=10)
    assert book.claim(1, want) == (0, 0, grains)
    assert book.words[CLAIMED] == min(10 * grains, 635)


def test_shares_shrink_towards_the_end(book: Book) -> None:
    book.words[TOTAL], book.words[WORKERS] = 64, 2
    book.publish(0, 1, count=64, grain=1)
    shares = [book.claim(1, 1000)[2] for _ in range(15)]
    assert shares == [16, 12, 9, 6, 5, 4, 3, 2, *[1] * 7]
    assert book.claim(1, 1000) is None


@pytest.mark.parametrize("workers", [0, -1, 1])
def test_fewer_than_one_worker_count_as_one(book: Book, workers: int) -> None:
    book.words[TOTAL], book.words[WORKERS] = 64, workers
    book.publish(0, 1, count=64, grain=1)
    assert book.claim(1, 1000) == (0, 0, 32)


@pytest.mark.parametrize(("total", "claimed"), [(0, 0), (10, 50), (2**63 - 1, -(2**63)), (5, 2**63 - 1)])
def test_a_total_that_makes_no_sense_gives_one_grain_or_all(book: Book, total: int, claimed: int) -> None:
    book.publish(0, 1, count=64, grain=1)
    book.words[TOTAL], book.words[CLAIMED] = total, claimed
    assert book.claim(1, 1000) in ((0, 0, 1), (0, 0, 64))


def test_the_oldest_entry_comes_first(book: Book) -> None:
    for position, number in ((0, 7), (63, 3), (20, 5)):
        book.publish(position, number, count=2, grain=2)
    assert book.words[OPEN] == -(2**63) + (1 << 20) + 1
    assert [book.claim(1, 9) for _ in range(4)] == [(63, 0, 1), (20, 0, 1), (0, 0, 1), None]


def test_nobody_claims_of_a_closed_ledger(book: Book) -> None:
    book.publish(0, 1, count=2, grain=1)
    book.words[CLOSED] = 1
    assert book.claim(1, 1) is None
    assert book.words[OPEN] == 1


def test_what_is_handed_back_is_claimed_again(book: Book) -> None:
    book.publish(2, 4, count=95, grain=10)
    assert book.claim(1, 1000) == (2, 0, 10)
    assert book.words[OPEN] == 0
    book.hand_back(2, 3, 4, slot=1)
    book.hand_back(2, 9, 1, slot=1)
    assert (book.words[OPEN], book.words[CLAIMED]) == (4, 95 - 45)
    assert book.claim(2, 1000) == (2, 3, 4)
    assert book.claim(2, 1000) == (2, 9, 1)
    assert book.words[CLAIMED] == 95
    assert book.owned(1) == [(2, grain) for grain in (0, 1, 2, 7, 8)]


def test_only_ones_own_grains_are_handed_back(book: Book) -> None:
    book.publish(0, 1, count=4, grain=1)
    book.claim(1, 2)
    book.claim(2, 1)
    book.hand_back(0, 0, 64, slot=2)
    assert book.owners(0)[:4] == [1, 1, FREE, FREE]
    assert book.words[CLAIMED] == 2


def test_no_grains_at_all_have_the_entry_looked_at_again(book: Book) -> None:
    """A process that died between an owner word and the bit, or before its second look, leaves grains hidden."""
    book.publish(0, 1, count=4, grain=1)
    book.words[OPEN] = 0
    assert book.claim(1, 1) is None
    book.hand_back(0, 0, 0, slot=5)
    assert book.claim(1, 9) == (0, 0, 4)
    book.hand_back(0, 0, 0, slot=5)
    assert (book.claim(1, 9), book.words[OPEN]) == (None, 0)


def test_a_grain_of_the_entry_before_is_nobodys(book: Book) -> None:
    book.publish(0, 1, count=4, grain=1)
    book.claim(1, 9)
    book.publish(0, 2, count=2, grain=1)
    assert book.owned(1) == []
    assert book.owners(0)[:4] == [FREE, FREE, 1, 1]
    book.hand_back(0, 2, 2, slot=1)
    assert book.claim(2, 9) == (0, 0, 2)


@pytest.mark.parametrize(
    ("count", "grain"), [(0, 1), (-1, 1), (1, 0), (1, -1), (65, 1), (2**63 - 1, 2**57 - 1), (641, 10)]
)
def test_an_entry_has_1_to_64_grains(book: Book, count: int, grain: int) -> None:
    with pytest.raises(ValueError, match="grains"):
        book.publish(0, 1, count, grain)
    assert (book.words[OPEN], book.words[PUBLISHED]) == (0, 0)


def test_the_largest_entry_there_can_be(book: Book) -> None:
    book.publish(0, 2**47 - 1, 2**63 - 1, 2**57)
    assert [book.claim(1, want) for want in (2**57, 2**62, 2**63 - 1)] == [(0, 0, 1), (0, 1, 32), (0, 33, 31)]
    assert book.words[CLAIMED] == 2**63 - 1


@pytest.mark.parametrize("value", [-1, 64, 2**31, 2**63])
def test_arguments_outside_are_refused(book: Book, value: int) -> None:
    for call in (
        lambda: book.publish(0, 1, 1, 1) or book.core.publish(book.words, value, book.lock),
        lambda: book.hand_back(value, 0, 1, 1),
        lambda: book.hand_back(0, value, 1, 1),
        lambda: book.hand_back(0, 1, value, 1),
        lambda: book.claim(1023 if value == 64 else value, 1),
        lambda: book.owned(1023 if value == 64 else value),
    ):
        with pytest.raises(ValueError):  # noqa: PT011
            call()


def test_a_ledger_that_is_too_small_is_refused(core: Any, lock: int) -> None:
    memory = mmap(-1, 8 * WORDS - 8)
    with pytest.raises(ValueError, match="words"):
        core.claim(memory, 1, 1, lock)
    with pytest.raises(ValueError, match="words"):
        core.owned(memory, 1)
    memory.close()


class Pair:
    """One ledger for each of the two, which must stay equal."""

    def __init__(self, both: tuple[Any, Any], lock: int, words: Any) -> None:
        self.books = [Book(core, array("q", words), lock) for core in both]

    def do(self, name: str, arguments: tuple[int, ...]) -> list[tuple[Any, array[int]]]:
        """What each of them answers, and its words after that."""
        return [(self._answer(book, name, arguments), book.words) for book in self.books]

    def _answer(self, book: Book, name: str, arguments: tuple[int, ...]) -> Any:
        try:
            return getattr(book, name)(*arguments)
        except ValueError:
            return ValueError

    def do_anything(self, draw: random.Random) -> list[tuple[Any, array[int]]]:
        position, slot = draw.randrange(3), draw.randrange(3)
        arguments = {
            "publish": (position, draw.randrange(1, 9), draw.randrange(66), draw.randrange(1, 3)),
            "claim": (slot, draw.randrange(40)),
            "hand_back": (position, draw.randrange(65), draw.randrange(20), slot),
            "owned": (slot,),
        }
        name = draw.choice([*arguments, "claim", "hand_back"])
        return self.do(name, arguments[name])


@given(seed=st.integers(0, 2**32), total=st.integers(-1, 300))
def test_both_do_the_same(both: tuple[Any, Any], seed: int, total: int) -> None:
    draw = random.Random(seed)
    with open(os.memfd_create("lock"), "r+b") as lock:
        pair = Pair(both, lock.fileno(), bytes(8 * WORDS))
        for book in pair.books:
            book.words[TOTAL] = total
        for _ in range(30):
            native, twin = pair.do_anything(draw)
            assert native == twin


@given(seed=st.integers(0, 2**32))
def test_garbage_is_not_trusted(both: tuple[Any, Any], seed: int) -> None:
    draw = random.Random(seed)
    words = array("q", [draw.choice(GARBAGE) for _ in range(WORDS)])
    with open(os.memfd_create("lock"), "r+b") as lock:
        pair = Pair(both, lock.fileno(), words.tobytes())
        for book in pair.books:
            book.words[:6] = array("q", [*words[:1], 0, *words[2:6]])
        for _ in range(10):
            native, twin = pair.do_anything(draw)
            assert native == twin


def test_nothing_leaks(book: Book) -> None:
    number = iter(range(1, 10**6))

    def exercise() -> None:
        book.publish(0, next(number), count=64, grain=1)
        assert book.claim(2, 500) is not None
        assert len(book.owned(2)) == 64
        book.hand_back(0, 0, 64, slot=2)
        with pytest.raises(ValueError, match="slot"):
            book.owned(5000)

    assert grown(exercise) < 50


# --- processes ---------------------------------------------------------------------------------

BLOCKS, ITEMS, BUSY = 300, 640, 3
WORKER = """
import sys
from importlib import import_module
from mmap import mmap
core, slot, fd, lock = import_module(sys.argv[1]), *map(int, sys.argv[2:])
memory = memoryview(mmap(fd, 0)).cast("q")
ledger, runs = memory[:4616], memory[4616:]
print("ready", flush=True)
turn = 0
while not core.load(ledger, 1):
    claim = core.claim(ledger, slot, 40 + turn % 100, lock)
    if claim is None:
        core.fence()
        continue
    position, first, grains = claim
    turn += 1
    kept = grains if turn % 5 else grains // 2
    start, count, grain = ledger[9 + 8 * position : 12 + 8 * position]
    begin, end = start + first * grain, start + min(count, (first + kept) * grain)
    for item in range(begin, end):
        runs[item] += 1
    if kept < grains:
        core.hand_back(ledger, position, first + kept, grains - kept, slot, lock)
"""


class Shop:
    """A parent with worker processes."""

    def __init__(self, core: Any, fd: int, lock: int) -> None:
        self.core = core
        self.fds = (fd, lock)
        self.map = mmap(fd, 8 * (WORDS + BLOCKS * ITEMS))
        self.memory = memoryview(self.map).cast("q")
        self.book = Book(core, self.memory[:WORDS], lock)
        self.runs = self.memory[WORDS:]
        self.workers: dict[int, subprocess.Popen[str]] = {}
        self.starts: dict[int, int] = {}

    def hire(self, slot: int) -> None:
        arguments = [self.core.__name__, str(slot), *map(str, self.fds)]
        self.workers[slot] = subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments], pass_fds=self.fds, stdout=subprocess.PIPE, text=True
        )

    def kill(self, slot: int) -> None:
        with self.workers.pop(slot) as worker:
            worker.kill()
            worker.wait()
        for position, grain in self.book.owned(slot):  # what it has run may be run again, what it has not must be
            self.book.hand_back(position, grain, 1, slot)
        for position in self.starts:
            self.book.hand_back(position, 0, 0, slot)

    def is_done(self, position: int) -> bool:
        start = self.starts.get(position)
        return start is None or 0 not in self.runs[start : start + ITEMS].tolist()

    def close(self) -> None:
        self.book.words[CLOSED] = 1
        for worker in self.workers.values():
            with worker:
                assert worker.wait(30) == 0
        for view in (self.book.words, self.runs, self.memory):
            view.release()
        self.map.close()


@pytest.fixture
def shop(core: Any, lock: int) -> Iterator[Shop]:
    fd = os.memfd_create("ledger")
    os.truncate(fd, 8 * (WORDS + BLOCKS * ITEMS))
    shop = Shop(core, fd, lock)
    for slot in (0, 1, 2):
        shop.hire(slot)
    for worker in shop.workers.values():
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    yield shop
    os.close(fd)


def run_blocks(shop: Shop, deaths: int) -> None:
    """Publish all blocks in few positions, each again as soon as it is done, and kill workers on the way."""
    waiting, at, slot = list(range(BLOCKS)), 0, 3
    while waiting or not all(map(shop.is_done, range(BUSY))):
        at = (at + 1) % BUSY
        if waiting and shop.is_done(at):
            block = waiting.pop(0)
            shop.starts[at] = block * ITEMS
            shop.book.publish(at, block + 1, ITEMS, grain=10, start=block * ITEMS)
            if deaths and block % (BLOCKS // deaths) == 7:
                shop.kill(min(shop.workers))
                shop.hire(slot)
                slot += 1


def test_processes_run_every_item_once(shop: Shop) -> None:
    run_blocks(shop, deaths=0)
    runs = shop.runs.tolist()
    assert (shop.book.words[CLAIMED], shop.book.words[PUBLISHED]) == (BLOCKS * ITEMS, BLOCKS * ITEMS)
    shop.close()
    assert runs == [1] * (BLOCKS * ITEMS)


def test_no_item_is_lost_when_processes_are_killed(shop: Shop) -> None:
    run_blocks(shop, deaths=6)
    runs = shop.runs.tolist()
    shop.close()
    assert min(runs) == 1


def test_the_twins_lock_goes_with_its_holder(both: tuple[Any, Any], lock: int) -> None:
    """A record lock has no owner any more once the process is dead, so it can be taken."""
    script = f"import fcntl, sys; fcntl.lockf({lock}, fcntl.LOCK_EX, 1); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], pass_fds=[lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        book = Book(both[1], array("q", bytes(8 * WORDS)), lock)
        former = signal.signal(signal.SIGALRM, lambda *_: holder.kill())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            book.publish(0, 1, count=1, grain=1)  # waits until the holder is dead
        finally:
            signal.signal(signal.SIGALRM, former)
    assert holder.returncode == -signal.SIGKILL
    assert book.claim(1, 1) == (0, 0, 1)
