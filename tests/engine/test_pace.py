"""Pace: shares that take about the target time, learned from the last ones, and never by leaps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketflex._engine.pace import _FIRST, _GROWTH, MOST_ITEMS, TARGET, Pace


def settled(each: float) -> Pace:
    """A pace that has seen many shares of items that take so many seconds each."""
    pace = Pace()
    for _ in range(20):
        pace.measure(pace.size(), pace.size() * each)
    return pace


def test_of_what_is_not_known_a_share_is_small_and_can_be_divided() -> None:
    pace = Pace()
    assert (pace.is_known, pace.size(), pace.grain()) == (False, _FIRST, 1)
    pace.measure(1, 1e-4)
    assert pace.is_known


@pytest.mark.parametrize("each", [1e-6, 1e-5, 1e-4, 1e-3, 0.009])
def test_a_share_takes_the_target_time(each: float) -> None:
    size = settled(each).size()
    assert TARGET - each <= size * each <= TARGET * 1.000001


@pytest.mark.parametrize(("each", "items"), [(1e-7, MOST_ITEMS), (0.3, 3), (5.0, 1)])
def test_how_many_items_take_a_second(each: float, items: int) -> None:
    assert abs(settled(each).within(1.0) - items) <= 1
    assert Pace().within(1.0) == 1


@pytest.mark.parametrize(("each", "is_dear"), [(1e-7, False), (1e-5, False), (1e-4, True), (1.0, True)])
def test_what_takes_much_longer_than_carrying_it_is_dear(each: float, is_dear: bool) -> None:
    assert settled(each).is_dear is is_dear
    assert not Pace().is_dear


@pytest.mark.parametrize(("each", "grain"), [(1e-6, 1000), (1e-5, 100), (0.0003, 3), (0.001, 1), (1.0, 1)])
def test_a_grain_takes_a_millisecond(each: float, grain: int) -> None:
    assert abs(settled(each).grain() - grain) <= 1


@pytest.mark.parametrize("each", [TARGET, 2 * TARGET, 1.0, 3600.0])
def test_a_long_item_is_a_share_of_its_own(each: float) -> None:
    assert (settled(each).size(), settled(each).grain()) == (1, 1)


@pytest.mark.parametrize("each", [0.0, 1e-12, 1e-9])
def test_a_share_of_the_shortest_items_still_has_an_end(each: float) -> None:
    assert settled(each).size() == MOST_ITEMS


def test_a_share_grows_by_a_limited_factor() -> None:
    """One short item says little about the next hundred thousand."""
    pace, size = Pace(), 1
    while size < MOST_ITEMS:
        pace.measure(size, 0.0)
        assert pace.size() == min(_GROWTH * size, MOST_ITEMS)
        size = pace.size()


def test_a_small_share_does_not_take_back_what_was_learned() -> None:
    pace = settled(1e-6)
    before = pace.size()
    pace.measure(1, 1e-6)
    assert pace.size() == before


def test_the_last_share_counts_half() -> None:
    pace = settled(1e-4)
    pace.measure(1, 3e-4)
    assert pace.size() == int(TARGET / 2e-4)


def test_items_that_become_long_shrink_the_share_soon() -> None:
    pace = settled(1e-6)
    for _ in range(3):
        pace.measure(pace.size(), pace.size() * 0.1)
    assert pace.size() == 1


def test_a_full_block_bounds_the_next_and_room_comes_back() -> None:
    pace = settled(1e-6)
    free = pace.size()
    pace.fit(10, is_full=True)
    assert pace.size() == 10
    pace.fit(10, is_full=False)
    assert pace.size() == 20
    pace.fit(3, is_full=False)  # a small block has room too, which says nothing about larger ones
    assert pace.size() == 20
    for _ in range(20):
        pace.fit(pace.size(), is_full=False)
    assert pace.size() == free


@given(st.lists(st.tuples(st.integers(1, MOST_ITEMS), st.floats(0, 1e6), st.booleans()), max_size=20))
def test_a_share_always_has_items(events: list[tuple[int, float, bool]]) -> None:
    pace = Pace()
    for items, seconds, is_full in events:
        pace.measure(items, seconds)
        pace.fit(items, is_full=is_full)
        assert 1 <= pace.size() <= MOST_ITEMS
        assert pace.grain() >= 1
