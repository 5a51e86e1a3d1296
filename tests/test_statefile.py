"""What the shared state looks like in a JSON file."""

from __future__ import annotations

import datetime
import enum
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pytest

from pocketflex.outcome import Failure
from pocketflex.statefile import JsonForm, StateFileError, check_writable, read_state, write_state


@dataclass
class Point:
    x: int
    tags: set[str]


class Pair(NamedTuple):
    left: Any
    right: Any


class Colour(enum.Enum):
    RED = "red"


class Opaque:
    def __repr__(self) -> str:
        return "<opaque>"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, 2.5, True, None, "é"]}, {"a": [1, 2.5, True, None, "é"]}),
        (Point(1, {"b", "a"}), {"x": 1, "tags": ["a", "b"]}),
        (Pair(1, (2, 3)), {"left": 1, "right": [2, 3]}),
        (Colour.RED, "red"),
        (PurePosixPath("a/b"), "a/b"),
        (b"\xff", {"base64": "/w=="}),
        (datetime.datetime(2024, 1, 2), "2024-01-02T00:00:00"),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.float32(0.5), 0.5),
        (np.array([PurePosixPath("a")]), ["a"]),
        ({1: "a", (1, 2): "b", None: "c"}, {"1": "a", "(1, 2)": "b", "null": "c"}),
        (Failure(3, ValueError("no")), {"index": 3, "error": "ValueError: no", "attempts": 1, "kind": "exception"}),
    ],
)
def test_values_with_a_form_in_json(value: Any, expected: Any) -> None:
    form = JsonForm()
    assert json.loads(json.dumps(form.of(value, "shared"))) == expected
    assert form.unheld == []


def test_a_value_without_a_form_is_its_repr_and_its_place_is_told(tmp_path: Path) -> None:
    circle: list[Any] = [1]
    circle.append(circle)
    path = tmp_path / "out.json"
    unheld = write_state({"a": [0, Opaque()], "b": circle, "c": [1j]}, str(path))
    assert json.loads(path.read_text()) == {"a": [0, "<opaque>"], "b": [1, "[1, [...]]"], "c": ["1j"]}
    assert unheld == ["shared['a'][1] (Opaque)", "shared['b'][1] (list)", "shared['c'][0] (complex)"]


def test_a_longdouble_does_not_recurse_for_ever() -> None:
    form = JsonForm()
    form.of(np.array([1.5], dtype=np.longdouble), "shared")
    assert form.unheld


def test_the_same_object_twice_is_no_circle() -> None:
    inner, form = [1], JsonForm()
    assert form.of([inner, inner], "shared") == [[1], [1]]
    assert form.unheld == []


@pytest.mark.parametrize(
    ("text", "message"), [("{", "not valid JSON"), ("[1]", "holds a list"), ("\xff", "not valid JSON")]
)
def test_a_file_that_holds_no_state(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "in.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(StateFileError, match=message):
        read_state(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match=r"nowhere\.json cannot be read: No such file"):
        read_state(str(tmp_path / "nowhere.json"))


def test_checking_a_path_leaves_no_file_and_harms_none(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("kept")
    check_writable(str(old))
    check_writable(str(tmp_path / "new"))
    assert old.read_text() == "kept"
    assert [entry.name for entry in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("path", [".", "nowhere/out.json"])
def test_a_path_that_cannot_be_written(tmp_path: Path, path: str) -> None:
    with pytest.raises(StateFileError, match="cannot be written"):
        check_writable(str(tmp_path / path))
