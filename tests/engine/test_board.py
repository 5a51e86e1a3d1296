"""The board: one writer a word, slots that do not touch each other, shared through a descriptor."""

from __future__ import annotations

import os

from pocketflex._engine.board import BEGAN, CANCELLED, INDEX, MAX_WORKERS, RANGE, Board


def test_slots_do_not_touch_each_other() -> None:
    board = Board.create()
    for number in range(MAX_WORKERS):
        board.clear(number)
    for number in (0, 1, 513, MAX_WORKERS - 1):
        slot = board.slot(number)
        for word in (RANGE, INDEX, BEGAN, CANCELLED):
            slot[word] = number * 10 + word
    for number in (0, 1, 513, MAX_WORKERS - 1):
        assert [board.slot(number)[word] for word in range(4)] == [number * 10 + word for word in range(4)]
    assert list(board.slot(2)[:4]) == [-1, -1, 0, 0]
    board.close()


def test_the_other_side_sees_and_writes_the_same_words() -> None:
    board = Board.create()
    board.clear(7)
    other = Board.inherit(os.dup(board.descriptor))
    other.slot(7)[INDEX] = -(2**62)
    board.slot(7)[CANCELLED] = 2**62
    assert board.slot(7)[INDEX] == -(2**62)
    assert other.slot(7)[CANCELLED] == 2**62
    other.close()
    board.close()


def test_a_slot_is_a_cache_line() -> None:
    board = Board.create()
    assert board.slot(0).nbytes == 64
    board.close()
