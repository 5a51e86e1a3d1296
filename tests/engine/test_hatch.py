"""The hatch, both sides of it, without a process."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from pocketflex._engine.board import Board
from pocketflex._engine.hatch import Answer, Hatch
from pocketflex._engine.segments import Region

HERE = (5, 1, 64, 10)


@pytest.fixture
def sides() -> Iterator[tuple[Hatch, Hatch]]:
    """The parent's and the worker's."""
    board = Board.create()
    board.reserve(0)
    ours, theirs = board.slot(0).hatch(), board.slot(0).hatch()
    yield ours, theirs
    ours.keep()  # a copy, in place of a view
    theirs.keep()
    board.close()


@pytest.mark.parametrize("item", [0, -(2**63), 1.5, "snow ☃", "", b"\0", None, True, (1, "a"), {"a": [1]}])
def test_an_item_goes_in_and_a_result_comes_out(sides: tuple[Hatch, Hatch], item: Any) -> None:
    ours, theirs = sides
    is_scalar = type(item) in (int, float, str, bytes, type(None), bool)
    assert theirs.asked() == 0
    assert ours.ask(7, HERE, b"callable", [item] if is_scalar else pickle.dumps(item))
    assert (theirs.asked(), theirs.here(), bytes(theirs.call())) == (7, HERE, b"callable")
    taken = theirs.item()
    assert (taken, type(taken)) == (item, type(item))
    assert not ours.is_answered
    assert theirs.write(item) is is_scalar
    if is_scalar:
        theirs.close(7)
        assert (ours.is_answered, ours.answer()) == (True, Answer(item))
        assert not ours.answer().is_special


@pytest.mark.parametrize("region", [Region(3, 128, 640), Region(4, 0, 4096, True), None])
def test_what_is_no_column_is_referred_to(sides: tuple[Hatch, Hatch], region: Region | None) -> None:
    ours, theirs = sides
    assert ours.ask(1, HERE, b"", [1])
    theirs.refer(region)
    theirs.close(1)
    answer = ours.answer()
    assert answer.is_special
    assert (answer.block, answer.is_nothing) == (region, region is None)


@pytest.mark.parametrize(
    ("call", "item"),
    [(b"c" * 5000, [1]), (b"c", ["x" * 5000]), (b"c", b"p" * 5000), (b"c" * 3900, b"p" * 200), (b"c", [2**63])],
    ids=["call", "column", "pickle", "both", "no-column"],
)
def test_what_does_not_fit_is_not_taken(sides: tuple[Hatch, Hatch], call: bytes, item: Any) -> None:
    ours, theirs = sides
    assert not ours.ask(1, HERE, call, item)
    assert (theirs.asked(), ours.errand) == (0, 0)
    assert ours.ask(2, HERE, b"c", [1])
    assert theirs.asked() == 2


@pytest.mark.parametrize("result", ["x" * 5000, 2**63, "\udc80"])
def test_a_result_that_does_not_fit_is_not_written(sides: tuple[Hatch, Hatch], result: Any) -> None:
    ours, theirs = sides
    assert ours.ask(1, HERE, b"c", [1])
    assert not theirs.write(result)


def test_what_was_answered_outlives_its_worker(sides: tuple[Hatch, Hatch]) -> None:
    ours, theirs = sides
    assert ours.ask(1, HERE, b"c", [1])
    assert theirs.write("said")
    theirs.close(1)
    ours.keep()
    theirs.clear()  # for the next worker
    assert (ours.is_answered, ours.answer()) == (True, Answer("said"))
    assert theirs.asked() == 0


def test_whoever_waits_is_told_once(sides: tuple[Hatch, Hatch]) -> None:
    ours, theirs = sides
    assert ours.ask(1, HERE, b"c", [1])
    ours.notice()
    assert not ours.has_news()
    assert theirs.write(1)
    theirs.close(1)
    assert ours.has_news()
    ours.notice()
    assert not ours.has_news()
    assert ours.is_answered
    ours.errand = 0
    assert not ours.is_answered
