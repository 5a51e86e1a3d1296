"""The board: one writer a word, slots that do not touch each other, records that come in order, each once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketflex._engine.board import (
    BEGAN,
    CANCELLED,
    COUNT,
    HEAD,
    INDEX,
    JOB,
    MAX_WORKERS,
    PACKETS,
    POSTED,
    REST,
    STARTING,
    TAIL,
    WAITS,
    Board,
)
from pocketflex._engine.records import Letter, Record, Told
from pocketflex._engine.segments import Region

pytestmark = pytest.mark.usefixtures("either")
ROOM = 62  # records
WORDS = (JOB, INDEX, BEGAN, COUNT, CANCELLED, REST, HEAD, TAIL)
words = st.integers(-(2**63), 2**63 - 1)
records = st.builds(Record, *[words] * len(Record._fields))


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board.create()
    yield board
    board.close()


@pytest.fixture
def other(board: Board) -> Iterator[Board]:
    """The same board as another process maps it."""
    other = Board.inherit(os.dup(board.descriptor))
    yield other
    other.close()


def some(number: int) -> Record:
    return Record(Told.OUTCOMES, 1, 2, start=number)


def test_slots_do_not_touch_each_other(board: Board) -> None:
    numbers = (0, 1, 513, MAX_WORKERS - 1)
    for number in numbers:
        board.reserve(number)
        for word in WORDS:
            board.slot(number).words[word] = number * 100 + word
    board.parent[WAITS] = 7
    for number in numbers:
        assert [board.slot(number).words[word] for word in WORDS] == [number * 100 + word for word in WORDS]
    assert board.parent[WAITS] == 7


def test_a_slot_begins_with_nothing_in_it(board: Board) -> None:
    board.reserve(2)
    board.slot(2).words[:] = board.slot(2).words[::-1]
    for number in range(3):
        board.slot(2).push(some(number))
    board.reserve(2)
    slot = board.slot(2)
    assert [slot.words[word] for word in WORDS] == [STARTING, -1, 0, 0, 0, 0, 0, 0]
    assert not slot.has_news()
    assert slot.pull() == []


def test_nobody_waits_at_first(board: Board) -> None:
    assert board.parent[WAITS] == 0


def test_the_other_side_sees_and_writes_the_same_words(board: Board, other: Board) -> None:
    board.reserve(7)
    other.slot(7).words[INDEX] = -(2**62)
    board.slot(7).words[CANCELLED] = 2**62
    assert board.slot(7).words[INDEX] == -(2**62)
    assert other.slot(7).words[CANCELLED] == 2**62


def test_memory_is_taken_slot_by_slot(board: Board) -> None:
    """A thousand slots of two pages are not had before their workers are."""
    before = os.fstat(board.descriptor).st_blocks
    board.reserve(500)
    assert (os.fstat(board.descriptor).st_blocks - before) * 512 == 12288


def test_a_record_is_read_once(board: Board, other: Board) -> None:
    board.reserve(0)
    assert other.slot(0).push(some(1))
    assert board.slot(0).has_news()
    assert board.slot(0).pull() == [some(1)]
    assert not board.slot(0).has_news()
    assert board.slot(0).pull() == []


@given(st.lists(st.lists(records, max_size=ROOM), min_size=1, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_records_arrive_in_order_and_as_they_are(board: Board, bursts: list[list[Record]]) -> None:
    board.reserve(3)
    for burst in bursts:
        assert [board.slot(3).push(record) for record in burst] == [True] * len(burst)
        assert board.slot(3).pull() == burst


def test_a_full_slot_takes_records_again_once_they_are_read(board: Board, other: Board) -> None:
    board.reserve(0)
    for first in range(0, 10 * ROOM, ROOM):
        pushed = [other.slot(0).push(some(first + number)) for number in range(ROOM + 2)]
        assert pushed == [True] * ROOM + [False] * 2
        assert [record.start for record in board.slot(0).pull()] == list(range(first, first + ROOM))


def test_the_records_of_two_workers_are_apart(board: Board) -> None:
    for number in (0, 1):
        board.reserve(number)
    for number in range(ROOM):
        board.slot(0).push(some(number))
        board.slot(1).push(some(-number))
    assert [record.start for record in board.slot(0).pull()] == list(range(ROOM))
    assert [record.start for record in board.slot(1).pull()] == [-number for number in range(ROOM)]


@pytest.mark.parametrize("is_alone", [False, True])
def test_a_record_says_which_items_and_where(is_alone: bool) -> None:
    region = Region(4, 128, 4096, is_alone)
    record = Record(Told.OUTCOMES, 1, 2, 30, 5, *region[:3], is_alone=region.is_alone)
    assert (record.start, record.stop, record.region) == (30, 35, region)


def test_letters_come_in_order_and_only_as_many_as_there_is_room_for(board: Board) -> None:
    board.reserve(0)
    parent, worker = board.slot(0), board.slot(0)
    letters = [Letter(job, 1, 64 * job, 100) for job in range(1, 10)]
    assert [parent.post(letter) for letter in letters[:5]] == [True] * 4 + [False]
    assert list(worker.letters()) == letters[:4]
    assert list(worker.letters()) == []
    assert [parent.post(letter) for letter in letters[4:6]] == [True] * 2
    assert list(worker.letters()) == letters[4:6]


def test_a_new_worker_finds_no_letter_to_the_one_before(board: Board) -> None:
    board.reserve(0)
    board.slot(0).post(Letter(1, 1, 0, 100))
    board.reserve(0)
    assert list(board.slot(0).letters()) == []


def test_packets_are_told_apart_from_everything_else_that_is_posted(board: Board) -> None:
    board.reserve(0)
    slot = board.slot(0)
    slot.count_post()
    slot.count_packet()
    assert (slot.words[POSTED], slot.words[PACKETS]) == (2, 1)
