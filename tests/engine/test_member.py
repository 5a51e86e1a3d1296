"""A worker as the parent sees it: when it is rung, and that no ring is lost between watching and sleeping."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from pocketflex._engine.board import ASLEEP, POSTED, REST, Board
from pocketflex._engine.member import Member
from pocketflex._engine.segments import Region
from pocketflex._engine.transport import Load, Message, Ring, Transport

LOAD = Load(7, Region(1, 0, 0), 60)


class Wire:
    """A transport that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def send(self, message: Message) -> None:
        self.sent.append(message)


@pytest.fixture
def worker() -> Iterator[tuple[Member, Any, list[Message]]]:
    board = Board.create()
    board.reserve(0)
    wire, slot = Wire(), board.slot(0)
    member = Member(0, slot, cast(Transport, wire))
    yield member, slot.words, wire.sent
    member.hatch.keep()  # a copy, in place of a view
    slot.words.release()
    board.close()


def test_who_works_is_not_rung(worker: tuple[Member, Any, list[Message]]) -> None:
    member, _, sent = worker
    assert (member.ring(), sent) == (False, [])


def test_who_watches_is_told_by_the_board_alone(worker: tuple[Member, Any, list[Message]]) -> None:
    member, words, sent = worker
    words[REST] = 1
    assert (member.ring(), words[POSTED], sent) == (True, 1, [])


def test_who_sleeps_is_rung_once_in_a_rest(worker: tuple[Member, Any, list[Message]]) -> None:
    member, words, sent = worker
    for rest in (1, 2):
        words[REST], words[ASLEEP] = rest, 1
        assert (member.ring(), member.ring()) == (True, False)  # the second thing to do is for somebody else
        assert sent == [Ring()] * rest


def test_who_was_called_before_it_slept_is_rung_in_the_same_rest(worker: tuple[Member, Any, list[Message]]) -> None:
    """It may have read what that call was for before it began to rest."""
    member, words, sent = worker
    words[REST] = 1
    member.call()
    words[ASLEEP] = 1
    member.ring()
    assert sent == [Ring()]


def test_a_letter_wakes_who_sleeps(worker: tuple[Member, Any, list[Message]]) -> None:
    member, words, sent = worker
    words[REST], words[ASLEEP] = 1, 1
    member.send(LOAD)
    member.ring()
    assert sent == [Ring()]


def test_a_job_for_which_there_is_no_letter_goes_by_the_socket(worker: tuple[Member, Any, list[Message]]) -> None:
    member, _, sent = worker
    for _ in range(5):
        member.send(LOAD)
    assert sent == [LOAD]
