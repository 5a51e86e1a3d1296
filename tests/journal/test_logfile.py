"""The journal's file: whose it must be, what is left of it when it is damaged, and that two runs never share it."""

from __future__ import annotations

import errno
import logging
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pocketflex as pf
from pocketflex.journal import logfile
from pocketflex.journal.frames import HEAD_NBYTES, MAGIC

RESULTS: list[Any] = [{"n": n, "half": n / 2, "text": "x" * n} for n in range(30)]
computed: list[int] = []


def compute(n: int) -> Any:
    computed.append(n)
    return RESULTS[n]


def resume(path: Path) -> list[Any]:
    computed.clear()
    return pf.parallel_map(compute, range(len(RESULTS)), executor="serial", resume=path)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "run.journal"
    assert resume(path) == RESULTS
    return path


def test_a_new_journal_is_this_users_alone_and_not_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, inherited = tmp_path / "run.journal", []
    monkeypatch.setattr(sys.modules[__name__], "look", lambda: inherited.extend(inheritable(path)), raising=False)
    assert list(pf.parallel_imap(peek, [0], executor="serial", resume=path)) == [0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert inherited == [False]


def peek(n: int) -> int:
    globals()["look"]()
    return n


def inheritable(path: Path) -> list[bool]:
    found = [int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
    return [os.get_inheritable(fd) for fd in found if os.readlink(f"/proc/self/fd/{fd}") == str(path)]


def test_the_file_begins_with_its_kind_and_version(journal: Path) -> None:
    assert journal.read_bytes().startswith(MAGIC)
    assert resume(journal) == RESULTS
    assert computed == []


def make_link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def write(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_link, "is a symbolic link"),
        (Path.mkdir, "cannot be opened: Is a directory"),
        (make_fifo, "is not a regular file"),
        (write(b"hello, I am a text\n" * 9), "is not a journal of this version"),
        (write(b"\0" * 100), "is not a journal of this version"),
        (write(MAGIC[:-1] + b"7" + bytes(99)), "is not a journal of this version"),
        (write(MAGIC + bytes(99)), "is damaged at its beginning"),
        (write(b"short"), "is not a journal of this version"),
    ],
)
def test_what_is_not_a_journal_is_refused_and_left_alone(tmp_path: Path, make: Any, message: str) -> None:
    path = tmp_path / "run.journal"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(pf.JournalError, match=message):
        resume(path)
    assert computed == []
    assert (path.read_bytes() if path.is_file() else None) == before
    assert not path.with_name("elsewhere").exists()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_to_is_refused(journal: Path, mode: int) -> None:
    journal.chmod(mode)
    with pytest.raises(
        pf.JournalError, match=f"has mode {mode:o}, with which others may write it: chmod go-rw it if nobody has"
    ):
        resume(journal)
    assert computed == []


def test_a_file_that_others_may_read_is_used(journal: Path) -> None:
    journal.chmod(0o644)
    assert resume(journal) == RESULTS


def test_a_file_of_another_user_is_refused(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: journal.stat().st_uid + 1)
    with pytest.raises(pf.JournalError, match="belongs to another user"):
        resume(journal)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(pf.JournalError, match=r"nowhere/run\.journal cannot be opened: No such file"):
        resume(tmp_path / "nowhere" / "run.journal")


@pytest.mark.parametrize("size", [0, 5, len(MAGIC), HEAD_NBYTES - 1])
def test_a_file_that_was_hardly_begun_is_a_new_one(journal: Path, size: int) -> None:
    os.truncate(journal, size)
    assert resume(journal) == RESULTS
    assert len(computed) == len(RESULTS)
    assert resume(journal) == RESULTS
    assert computed == []


# --- two at a time ------------------------------------------------------------------------------


def test_two_runs_at_once_are_refused_clearly(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    first = pf.parallel_imap(compute, range(9), executor="serial", resume=path)
    assert next(first) == RESULTS[0]
    with pytest.raises(pf.JournalError, match="another run is using this journal: wait until it has ended"):
        resume(path)
    first.close()
    assert pf.parallel_map(abs, [1], executor="serial", resume=tmp_path / "other") == [1]


def test_another_process_is_refused_as_well(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    held = pf.parallel_imap(compute, range(9), executor="serial", resume=path)
    source = f"import pocketflex as pf; pf.parallel_map(abs, [1], executor='serial', resume={str(path)!r})"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert "JournalError" in done.stderr
    assert "another run is using this journal" in done.stderr
    held.close()


def test_a_stream_that_nobody_reads_lets_go_of_its_journal(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    pf.parallel_imap(compute, range(9), executor="serial", resume=path)
    assert pf.parallel_imap(compute, range(9), executor="serial", resume=path) is not None


# --- damage -------------------------------------------------------------------------------------


def test_a_torn_tail_is_dropped_and_costs_its_item(journal: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.truncate(journal, journal.stat().st_size - 3)
    with caplog.at_level(logging.INFO, "pocketflex"):
        assert resume(journal) == RESULTS
    assert computed == [29]
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "its last record was not finished" in caplog.text
    assert resume(journal) == RESULTS
    assert computed == []


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def test_a_damaged_result_is_passed_over_and_computed_again(journal: Path, caplog: pytest.LogCaptureFixture) -> None:
    flip(journal, journal.read_bytes().index(b"x" * 12) + 3)
    assert resume(journal) == RESULTS
    assert computed == [12]
    assert "1 records and the last 0 bytes cannot be read" in caplog.text


def test_behind_a_damaged_head_all_is_computed_again(journal: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = journal.read_bytes()
    body = data.index(b"x" * 12)
    head = data.rindex(b"\x02\0\0\0", 0, body - 60)  # the kind of a frame: 4 bytes before the end of its head
    flip(journal, head)
    assert resume(journal) == RESULTS
    assert 0 < len(computed) < len(RESULTS)
    assert computed == list(range(computed[0], 30))
    assert "cannot be read; their items are computed again" in caplog.text
    assert resume(journal) == RESULTS
    assert computed == []


def test_results_of_another_journal_do_not_pass(journal: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    resume(other)
    journal.write_bytes(journal.read_bytes()[:HEAD_NBYTES] + other.read_bytes()[HEAD_NBYTES:])
    assert resume(journal) == RESULTS
    assert len(computed) == len(RESULTS)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_a_journal_with_any_damage_never_gives_a_wrong_result(tmp_path: Path, data: st.DataObject) -> None:
    path, good = tmp_path / "run.journal", tmp_path / "good"
    if not good.exists():
        resume(good)
    damaged = bytearray(good.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + 1] = data.draw(st.binary(max_size=3))
        damaged = damaged or bytearray(1)
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))] + data.draw(st.binary(max_size=40)))
    path.chmod(0o600)
    try:
        assert resume(path) == RESULTS
    except pf.JournalError:
        assert computed == []
        return
    assert resume(path) == RESULTS  # and it has been mended
    assert computed == []


def test_a_file_that_changes_under_a_run_is_noticed(journal: Path) -> None:
    stream = pf.parallel_imap(later, range(300), executor="serial", resume=journal.with_name("other"))
    list(stream)
    again = pf.parallel_imap(later, range(300), executor="serial", resume=journal.with_name("other"))
    next(again)
    flip(journal.with_name("other"), journal.with_name("other").stat().st_size - 1)
    with pytest.raises(pf.JournalError, match="was changed by somebody else"):
        list(again)


def later(n: int) -> int:
    return n


# --- a full disk --------------------------------------------------------------------------------


def test_a_full_disk_is_told_and_loses_nothing_that_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pwrite, left = tmp_path / "run.journal", os.pwrite, [1500]

    def fill(fd: int, data: Any, offset: int) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = pwrite(fd, data[: left[0]], offset)
        left[0] -= written
        return written

    monkeypatch.setattr(os, "pwrite", fill)
    with pytest.raises(OSError, match=r"No space left on device: '.*run\.journal'") as caught:
        resume(path)
    assert not isinstance(caught.value, pf.JournalError)
    assert "results until now are in the journal" in caught.value.__notes__[0]
    done = len(computed) - 1
    monkeypatch.undo()
    assert done > 3
    assert resume(path) == RESULTS
    assert computed == list(range(done, 30))


def test_a_file_that_may_not_grow_is_told_too(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            resume(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.stat().st_size <= 1500
    assert resume(path) == RESULTS
    assert 0 < len(computed) < len(RESULTS)


def test_an_interrupted_write_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logfile.LogFile(str(tmp_path / "run.journal"))
    assert list(log.frames(9)) == []
    pwrite = os.pwrite

    def interrupt(fd: int, data: Any, offset: int) -> int:
        pwrite(fd, data[:20], offset)
        raise KeyboardInterrupt

    log.append([(9, [b"first"])])
    monkeypatch.setattr(os, "pwrite", interrupt)
    with pytest.raises(KeyboardInterrupt):
        log.append([(9, [b"a longer one that is interrupted"])])
    monkeypatch.undo()
    log.append([(9, [b"second"])])
    log.close()
    again = logfile.LogFile(str(tmp_path / "run.journal"))
    assert [frame.beginning for frame in again.frames(9)] == [b"first", b"second"]
    again.close()


def test_it_is_on_the_disk_at_the_end_of_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "run.journal", []
    fdatasync, fsync = os.fdatasync, os.fsync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(path.stat().st_size), fdatasync(fd)))
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    resume(path)
    assert synced == [path.stat().st_size, str(tmp_path)]
    resume(path)
    assert len(synced) == 2  # nothing was added


def test_it_is_on_the_disk_at_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, fdatasync = [], os.fdatasync
    monkeypatch.setattr(logfile, "_EVERY", 0.0)
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(len(computed)), fdatasync(fd)))
    resume(tmp_path / "run.journal")
    assert len(synced) >= len(RESULTS)
