"""The ledger: what one side publishes the other claims, each item once; what is given back is there again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketflex._engine.ledger import NBYTES, Claim, Entry, Ledger
from pocketflex._engine.ranges import Span
from pocketflex._engine.segments import Region

pytestmark = pytest.mark.usefixtures("either")
CLAIMED, TOTAL = 3, 4  # words, as native/README.md has them
PLENTY = 1 << 40


class Sides:
    """The parent's ledger and the workers', over the same memory."""

    def __init__(self, lock: int, length: int | None = None, workers: int = 2) -> None:
        memory = memoryview(bytearray(NBYTES + 64))
        self.words = memory[:NBYTES].cast("q")
        self.parent = Ledger(memory, lock)
        self.parent.clear(workers, length)
        self.worker = Ledger(memory, lock)

    def claims(self, worker: int, want: int = PLENTY) -> list[Claim]:
        """Everything that can be claimed."""
        found = []
        while claim := self.worker.claim(worker, want):
            found.append(claim)
        return found


@pytest.fixture
def lock() -> Iterator[int]:
    fd = os.memfd_create("lock")
    yield fd
    os.close(fd)


@pytest.fixture
def sides(lock: int) -> Sides:
    return Sides(lock)


def entry(number: int, start: int = 0, length: int = 10, grain: int = 3) -> Entry:
    return Entry(number, start, length, grain, Region(number % 7 + 1, 64 * number, 4096))


def span(claim: Claim) -> Span:
    return claim.entry.span(claim.first, claim.grains)


def test_a_worker_sees_the_block_as_it_was_published(sides: Sides) -> None:
    published = entry(2**47 - 1, start=2**40, length=1000, grain=100)
    sides.parent.publish(published)
    claim = sides.worker.claim(3, 250)
    assert claim is not None
    assert claim.entry == published
    assert span(claim) == Span(2**40, 2**40 + 200)
    assert (sides.parent.unclaimed, sides.worker.unclaimed) == (800, 800)


@pytest.mark.parametrize(
    ("first", "grains", "items"),
    [(0, 1, Span(100, 103)), (0, 4, Span(100, 110)), (1, 2, Span(103, 109)), (3, 1, Span(109, 110))],
)
def test_the_last_grain_has_fewer_items(first: int, grains: int, items: Span) -> None:
    assert entry(1, start=100).span(first, grains) == items


def test_each_grain_goes_to_one_worker(sides: Sides) -> None:
    sides.parent.publish(entry(1, length=10, grain=3))
    taken = [span(claim) for worker in (0, 5, 1021, 5, 0) if (claim := sides.worker.claim(worker, 1))]
    assert taken == [Span(0, 3), Span(3, 6), Span(6, 9), Span(9, 10)]
    assert sides.parent.owned(5) == [(1, Span(3, 6)), (1, Span(9, 10))]
    assert sides.parent.owned(7) == []
    assert not sides.worker.is_open
    assert sides.parent.unclaimed == 0


def test_the_oldest_block_goes_first(sides: Sides) -> None:
    for number in (4, 9, 12):
        sides.parent.publish(entry(number, length=2, grain=2))
    assert [claim.entry.number for claim in sides.claims(1)] == [4, 9, 12]


@pytest.mark.parametrize(("want", "items"), [(0, 3), (1, 3), (3, 3), (5, 3), (6, 6), (PLENTY, 10)])
def test_a_claim_has_about_what_is_wanted_of_one_block(sides: Sides, want: int, items: int) -> None:
    sides.parent.publish(entry(1))
    sides.parent.publish(entry(2, start=10))
    claim = sides.worker.claim(0, want)
    assert claim is not None
    assert span(claim) == Span(0, items)


@pytest.mark.parametrize("is_sealed_late", [False, True])
def test_shares_shrink_towards_an_end_that_is_known(lock: int, is_sealed_late: bool) -> None:
    sides = Sides(lock, None if is_sealed_late else 64)
    if is_sealed_late:
        sides.parent.seal(64)
    sides.parent.publish(entry(1, length=64, grain=1))
    shares = [claim.grains for claim in sides.claims(1, 1000)]
    assert sum(shares) == 64
    assert shares == sorted(shares, reverse=True)
    assert (shares[0], shares[-1]) == (16, 1)


def test_what_is_handed_back_is_there_for_others(sides: Sides) -> None:
    sides.parent.publish(entry(1, start=20))
    claim = sides.worker.claim(0, PLENTY)
    assert claim is not None
    sides.worker.hand_back(claim, 2, 0)
    assert sides.worker.is_open
    assert sides.parent.unclaimed == 4
    assert sides.parent.owned(0) == [(1, Span(20, 23)), (1, Span(23, 26))]
    assert [span(again) for again in sides.claims(1)] == [Span(26, 30)]


def test_a_claim_of_another_is_not_handed_back(sides: Sides) -> None:
    sides.parent.publish(entry(1))
    claim = sides.worker.claim(0, PLENTY)
    assert claim is not None
    sides.worker.hand_back(claim, 4, 1)
    assert sides.claims(1) == []
    assert sides.parent.unclaimed == 0


def test_a_block_that_is_done_with_belongs_to_nobody(sides: Sides) -> None:
    sides.parent.publish(entry(1))
    sides.parent.publish(entry(2, start=10))
    sides.claims(0)
    sides.parent.forget(1)
    sides.parent.forget(1)  # twice is once
    assert {number for number, _ in sides.parent.owned(0)} == {2}


def test_there_is_room_for_64_blocks_at_a_time_and_for_any_number_in_turn(sides: Sides) -> None:
    for number in range(1, 65):
        sides.parent.publish(entry(number, start=10 * number))
    for number in range(65, 400):
        sides.claims(0)
        sides.parent.forget(number - 64)
        sides.parent.publish(entry(number, start=10 * number))
        assert [claim.entry.number for claim in sides.claims(1)] == [number]
    owned = Counter(number for worker in (0, 1) for number, _ in sides.parent.owned(worker))
    assert owned == Counter(dict.fromkeys(range(336, 400), 4))


def test_nobody_claims_once_it_is_closed(sides: Sides) -> None:
    sides.parent.publish(entry(1))
    assert (sides.worker.is_open, sides.worker.is_closed) == (True, False)
    sides.parent.close()
    assert (sides.worker.is_open, sides.worker.is_closed) == (False, True)
    assert sides.worker.claim(0, 1) is None


def test_a_worker_under_way_can_hand_back_to_a_closed_ledger(sides: Sides) -> None:
    sides.parent.publish(entry(1))
    claim = sides.worker.claim(0, 1)
    assert claim is not None
    sides.parent.close()
    sides.worker.hand_back(claim, 1, 0)
    assert sides.worker.claim(0, 1) is None


def test_memory_that_was_used_before_begins_empty(lock: int) -> None:
    sides = Sides(lock)
    sides.parent.publish(entry(1))
    sides.worker.claim(0, 1)
    sides.parent.close()
    again = Ledger(memoryview(sides.words.obj), lock)  # type: ignore[arg-type]
    again.clear(3, 17)
    assert (again.unclaimed, again.is_open, again.is_closed, again.owned(0)) == (0, False, False, [])
    assert again.claim(0, 1) is None


def test_a_ledger_that_begins_once_more_has_nothing_of_the_job_before(sides: Sides) -> None:
    for number in range(1, 65):
        sides.parent.publish(entry(number, start=10 * number))
    sides.claims(0)
    sides.parent.close()
    sides.parent.begin(3, 17)
    ledger = sides.parent
    assert (ledger.unclaimed, ledger.is_open, ledger.is_closed, ledger.owned(0)) == (0, False, False, [])
    assert sides.worker.claim(0, 1) is None
    for number in range(65, 129):
        ledger.publish(entry(number))
    assert {claim.entry.number for claim in sides.claims(0)} == set(range(65, 129))


def test_grains_that_a_dead_worker_has_hidden_are_seen_again(sides: Sides) -> None:
    """It may have died between clearing an entry's bit and its second look at the owners."""
    sides.parent.publish(entry(1))
    sides.parent.publish(entry(2, start=10))
    sides.words[0] = 0
    assert sides.claims(0) == []
    sides.parent.mend(5)
    assert [span(claim) for claim in sides.claims(0)] == [Span(0, 10), Span(10, 20)]


def test_a_death_costs_nobody_elses_claim(sides: Sides) -> None:
    sides.parent.publish(entry(1))
    claims = [sides.worker.claim(worker, 1) for worker in (0, 1)]
    sides.parent.mend(0)
    assert [span(claim) for claim in claims if claim] == [Span(0, 3), Span(3, 6)]
    assert sides.parent.owned(1) == [(1, Span(3, 6))]
    assert [span(claim) for claim in sides.claims(2)] == [Span(6, 10)]


steps = st.lists(
    st.tuples(st.sampled_from(["publish", "claim", "claim", "hand back", "forget"]), st.integers(0, 400)), max_size=60
)


@given(steps, st.none() | st.integers(0, 500))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_every_item_has_one_owner_or_none(lock: int, events: list[tuple[str, int]], length: int | None) -> None:
    sides = Sides(lock, length)
    blocks: dict[int, Entry] = {}
    claims: list[tuple[int, Claim]] = []
    owners: dict[int, int] = {}  # index -> worker
    for what, value in events:
        if what == "publish" and len(blocks) < 64:
            start = max((one.start + one.length for one in blocks.values()), default=0)
            number = max(blocks, default=value) + 1
            count = value % 20 + 1
            blocks[number] = entry(number, start, count, grain=-(-count // (value % 64 + 1)))
            sides.parent.publish(blocks[number])
        elif what == "claim" and (claim := sides.worker.claim(value % 5, value)):
            taken = dict.fromkeys(range(*span(claim)), value % 5)
            assert taken
            assert not taken.keys() & owners.keys()
            owners |= taken
            claims.append((value % 5, claim))
        elif what == "hand back" and claims:
            worker, claim = claims.pop(value % len(claims))
            grains = value % (claim.grains + 1)
            sides.worker.hand_back(claim, grains, worker)
            for index in range(*claim.entry.span(claim.first + claim.grains - grains, grains)):
                del owners[index]
        elif what == "forget" and (done := _claimed(blocks, owners)):
            claims = [(worker, claim) for worker, claim in claims if claim.entry.number != done.number]
            sides.parent.forget(done.number)
            del blocks[done.number]
            owners = {index: worker for index, worker in owners.items() if not 0 <= index - done.start < done.length}
        assert _owned(sides.parent) == owners
        assert sides.parent.unclaimed == sum(one.length for one in blocks.values()) - len(owners)


def _claimed(blocks: dict[int, Entry], owners: dict[int, int]) -> Entry | None:
    """The last of the blocks of which nothing is free."""
    whole = [one for one in blocks.values() if owners.keys() >= set(range(one.start, one.start + one.length))]
    return whole[-1] if whole else None


def _owned(parent: Ledger) -> dict[int, Any]:
    pairs = [(index, worker) for worker in range(5) for _, items in parent.owned(worker) for index in range(*items)]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


@pytest.mark.parametrize("is_known", [True, False])
def test_what_the_owner_has_run_is_not_left_for_workers(lock: int, is_known: bool) -> None:
    sides = Sides(lock, 100 if is_known else None)
    assert sides.parent.left == (100 if is_known else None)
    sides.parent.withdraw(20)
    sides.parent.publish(entry(1, start=20, length=40, grain=1))
    if not is_known:
        assert sides.parent.left is None
        sides.parent.seal(100)
    assert sides.parent.left == 80
    claim = sides.worker.claim(3, PLENTY)
    assert claim is not None
    assert claim.grains == 80 // 2 // 2, "half of an even share of what is left"
    assert sides.parent.left == 60
    sides.parent.withdraw(15)
    assert sides.parent.left == 45


@pytest.mark.parametrize("is_known", [True, False])
def test_what_is_published_once_more_is_left_as_often(lock: int, is_known: bool) -> None:
    """Else shares would shrink, as if the job were near its end, where many items are tried again."""
    sides = Sides(lock, 100 if is_known else None)
    sides.parent.publish(entry(1, length=40, grain=1))
    claim = sides.worker.claim(3, 10)
    assert claim is not None
    for _ in range(10):
        sides.parent.repeat()
    if not is_known:
        sides.parent.seal(100)
    assert sides.parent.left == 100
    sides.parent.publish(entry(2, start=0, length=1, grain=1))
    again = sides.worker.claim(3, 100)
    assert again is not None
    assert (again.entry.number, again.grains) == (1, 25), "a quarter of what is left, between two workers"


@pytest.mark.parametrize(
    ("at", "whole", "rest"),
    [
        (103, 3, Span(103, 103)),
        (104, 2, Span(104, 106)),
        (106, 2, Span(106, 106)),
        (109, 1, Span(109, 109)),
        (110, 0, Span(110, 110)),
    ],
)
def test_what_is_left_of_a_claim_is_whole_grains_and_the_rest_of_one(at: int, whole: int, rest: Span) -> None:
    claim = Claim(entry(1, start=100), 0, 1, 3)
    assert claim.span == Span(103, 110)
    assert claim.unbegun(at) == (whole, rest)
