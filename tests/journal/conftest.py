"""What the tests of resume share: a journal's path, a look into it, and a note of every call of an item."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pocketflex.journal.book import PICKLED, PLACE, VALUE
from pocketflex.journal.frames import HEAD_NBYTES, Framing, Scan, nonce_of

Take = Callable[[], list[str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.journal"


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Take:
    """What was noted since this was last called, in whatever process: a line of the file $CALLS each."""
    file = tmp_path / "calls"
    file.touch()
    monkeypatch.setenv("CALLS", str(file))

    def take() -> list[str]:
        found = file.read_text().split()
        file.write_text("")
        return sorted(found, key=lambda text: (len(text), text))

    return take


@pytest.fixture
def journalled() -> Callable[[Path], int]:
    """How many results are in a journal, a torn one at its end not counted."""
    return _journalled


def _journalled(path: Path) -> int:
    with path.open("rb") as stream:
        nonce = nonce_of(stream.read(HEAD_NBYTES))
        assert nonce is not None
        frames = list(Framing(nonce).scan(stream, PLACE.size, Scan()))
    return sum(frame.kind in (VALUE, PICKLED) for frame in frames)
