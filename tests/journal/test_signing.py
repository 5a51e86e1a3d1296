"""Pickles in a journal: kept when asked for, and never loaded unless this user has signed them for this place."""

from __future__ import annotations

import os
import pickle
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import pocketflex as pf
from pocketflex._engine.by_value import ship_by_value
from pocketflex.journal.signing import read_key

ship_by_value(sys.modules[__name__])


@dataclass
class Point:
    x: int


loaded: list[int] = []


class Tells:
    """Says so when it is unpickled."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __reduce__(self) -> Any:
        return _tell, (self.n,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tells) and self.n == other.n

    __hash__ = None  # type: ignore[assignment]


def _tell(n: int) -> Tells:
    if "GONE" in os.environ:
        raise AttributeError("no such class")
    loaded.append(n)
    return Tells(n)


@pytest.fixture(autouse=True)
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's key is to be; this module is importable, as a user's would be."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    loaded.clear()
    return tmp_path / "state" / "pocketflex" / "journal.key"


made: list[int] = []


def make(n: int) -> Any:
    made.append(n)
    return Tells(n) if n % 2 else n


def resume(path: Path, **options: Any) -> list[Any]:
    made.clear()
    return pf.parallel_map(make, range(6), executor="serial", resume=pf.Journal(path, **options))


def test_what_has_no_data_format_is_kept_when_asked_for(path: Path, key: Path) -> None:
    assert resume(path, pickle=True) == [make(n) for n in range(6)]
    assert resume(path, pickle=True) == [make(n) for n in range(6)]
    assert made == [*range(6)]  # those of the line above
    assert loaded == [1, 3, 5]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert len(key.read_bytes()) == 32


def test_nothing_is_unpickled_without_being_asked(path: Path) -> None:
    resume(path, pickle=True)
    with pytest.raises(
        pf.JournalError, match=r"has pickled results of .*: pass resume=pf\.Journal\(path, pickle=True\)"
    ):
        resume(path)
    assert (made, loaded) == ([], [])


def test_no_key_is_made_without_being_asked(path: Path, key: Path) -> None:
    resume(path)
    assert not key.exists()


def test_what_another_key_has_signed_is_not_unpickled(path: Path, key: Path) -> None:
    resume(path, pickle=True)
    key.unlink()
    with pytest.raises(pf.JournalError, match=r"result of item 1 .* the signature of a pickle is not this user's"):
        resume(path, pickle=True)
    assert (made, loaded) == ([], [])


def test_a_pickle_that_somebody_else_put_in_is_not_unpickled(path: Path, tmp_path: Path) -> None:
    """With good checksums: those of a journal are no secret."""
    from pocketflex.journal.book import PICKLED, Book

    resume(path, pickle=True)
    book = Book(str(path))
    evil = pickle.dumps(Tells(666))
    (section, offsets) = next(iter(book._results.items()))
    place = book.log.read(offsets[1])[1][:28]
    book.log.append([(PICKLED, [place + bytes(32) + evil])])
    book.close()
    with pytest.raises(pf.JournalError, match="signature"):
        resume(path, pickle=True)
    assert 666 not in loaded
    assert section == 0


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o622])
def test_a_key_that_others_can_read_is_refused(path: Path, key: Path, mode: int) -> None:
    resume(path, pickle=True)
    key.chmod(mode)
    with pytest.raises(pf.JournalError, match=f"has mode {mode:o}, with which others may (read|write) it"):
        resume(path, pickle=True)


def make_link(key: Path) -> None:
    key.symlink_to(key.with_name("elsewhere"))
    key.with_name("elsewhere").write_bytes(bytes(32))


@pytest.mark.parametrize(
    ("make_key", "message"),
    [
        (lambda key: key.write_bytes(b"short"), "is not a key: delete it"),
        (make_link, "is a symbolic link"),
        (Path.mkdir, "is not a regular file"),
    ],
)
def test_what_is_no_key_is_refused(path: Path, key: Path, make_key: Callable[[Path], Any], message: str) -> None:
    key.parent.mkdir(parents=True)
    make_key(key)
    if key.is_file() and not key.is_symlink():
        key.chmod(0o600)
    with pytest.raises(pf.JournalError, match=message):
        resume(path, pickle=True)


def test_two_that_make_the_key_at_once_have_the_same(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_key()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", lambda path: False)
        assert read_key() == first
    assert [entry.name for entry in key.parent.iterdir()] == ["journal.key"]


def test_a_result_that_cannot_be_pickled_is_delivered(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def lock(n: int) -> Any:
        import threading

        return threading.Lock()

    found = pf.parallel_map(lock, [1, 2], executor="serial", resume=pf.Journal(path, pickle=True))
    assert len(found) == 2
    assert "results of type lock (TypeError: cannot pickle '_thread.lock' object) are not in the journal" in caplog.text


def test_a_class_that_is_gone_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resume(path, pickle=True)
    monkeypatch.setenv("GONE", "1")
    with pytest.raises(pf.JournalError, match=r"the result of item 1 of .* cannot be read: AttributeError"):
        resume(path, pickle=True)


def test_a_journal_is_a_path_and_whether_to_pickle() -> None:
    assert pf.Journal("a") == pf.Journal("a", pickle=False)
    with pytest.raises(pf.OptionError, match="pickle=1: it must be True or False"):
        pf.Journal("a", pickle=1)  # type: ignore[arg-type]
    with pytest.raises(pf.OptionError, match="resume=5: it must be the path of a file"):
        pf.Journal(5)  # type: ignore[arg-type]
    with pytest.raises(pf.OptionError, match="resume=''"):
        pf.Journal("")
    assert os.fspath(pf.Journal(Path("a")).path) == "a"
    assert Point(1) == Point(1)
