"""What jobs have in common: equal pickles are one parcel, ledgers are used again, and what is kept is bounded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pocketflex._engine.ledger import NBYTES
from pocketflex._engine.ranges import Limits
from pocketflex._engine.segments import Region
from pocketflex._engine.shm import Arena
from pocketflex._engine.stock import Stock
from pocketflex._engine.transport import TERMS_NBYTES, Parcel, Terms


@pytest.fixture
def arena() -> Iterator[Arena]:
    arena = Arena()
    yield arena
    arena.close()


@pytest.fixture
def stock(arena: Arena) -> Iterator[Stock]:
    stock = Stock(arena, -1)
    yield stock
    stock.close()


def terms(stock: Stock, call: bytes = b"call", here: bytes = b"here") -> Terms:
    return Terms(stock.share(here), stock.share(call), None, False)


def end(stock: Stock, job: int, given: Terms) -> list[Region]:
    load, ledger = stock.begin(job, given, Limits(1))
    return stock.take_back(given, load.sheet, ledger)


def content(arena: Arena, parcel: Parcel) -> bytes:
    return bytes(arena.view(parcel.region)[: parcel.nbytes])


def test_equal_pickles_are_one_parcel(arena: Arena, stock: Stock) -> None:
    first, second = stock.share(b"one"), stock.share(b"two")
    assert stock.share(b"one") is first
    assert (content(arena, first), content(arena, second)) == (b"one", b"two")
    assert first.number != second.number


def test_a_pickle_outlives_its_job_for_the_next_one(arena: Arena, stock: Stock) -> None:
    given = terms(stock)
    assert end(stock, 1, given) == []
    assert stock.share(b"call") is given.call


def test_what_no_job_has_is_kept_within_a_bound_and_what_a_job_has_always(arena: Arena, stock: Stock) -> None:
    used = terms(stock, b"used")
    for job in range(100):
        end(stock, job, terms(stock, b"call %d" % job))
    assert stock.share(b"used") is used.call
    assert content(arena, used.call) == b"used"
    assert 16 <= len(stock._kept) <= 20


def test_a_large_pickle_goes_with_its_job(stock: Stock) -> None:
    given = terms(stock, bytes(1 << 17))
    assert end(stock, 1, given) == [given.call.region]


def test_buffers_go_with_their_job(arena: Arena, stock: Stock) -> None:
    buffers = [memoryview(b"a" * 5000), memoryview(b"b" * 100)]
    given = Terms(stock.share(b"here"), stock.store(b"call", buffers), None, False)
    assert given.call.buffers is not None
    assert bytes(arena.view(given.call.buffers)[5056:5156]) == b"b" * 100
    assert end(stock, 1, given) == [given.call.region, given.call.buffers]


def test_a_ledger_is_used_again(stock: Stock) -> None:
    given = terms(stock)
    load, ledger = stock.begin(1, given, Limits(1, length=100))
    ledger.withdraw(30)
    stock.take_back(given, load.sheet, ledger)
    assert stock.begin(2, terms(stock), Limits(2, length=100)) == ((2, load.sheet, load.nbytes), ledger)
    ledger.seal(100)
    assert ledger._words[4] == 100, "nothing has been withdrawn from the second job"


@pytest.mark.parametrize("timeout", [None, 0.1, 1e8])
@pytest.mark.parametrize("is_alone", [True, False])
def test_terms_arrive_as_they_were(arena: Arena, stock: Stock, timeout: float | None, is_alone: bool) -> None:
    region = Region(1 << 40, 1 << 50, 1 << 45, is_alone)
    given = Terms(Parcel(1 << 50, region, 1 << 44, None), Parcel(7, region, 5, region), timeout, True)
    load, _ = stock.begin(1, given, Limits(1))
    assert load.nbytes <= TERMS_NBYTES
    assert Terms.load(arena.view(load.sheet)[NBYTES : NBYTES + load.nbytes]) == given
