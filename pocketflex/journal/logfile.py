"""The journal's file on the disk: opened with care, locked, appended to, read.

It is opened only if it is a regular file of this user's that nobody else may write to, and never through a
symbolic link. The lock (flock) goes with the last descriptor of it, so a killed run leaves none.

A write goes to a place that this object knows, not to the end of the file: what an interrupted write has left
is written over by the next one. It is in the kernel's hands when `append` returns, so that SIGKILL of this process
cannot take it; `sync` hands it to the disk, against the loss of power.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import Any
from weakref import finalize
from zlib import crc32

from ..errors import JournalError
from .frames import FRAME_NBYTES, HEAD_NBYTES, MAGIC, Frame, Framing, Scan, make_head, nonce_of

_EVERY = 5.0  # seconds between two syncs: each takes 1 to 50 ms, and the kernel itself writes after 30
_LARGE = 1 << 16  # bytes of a piece that has a write of its own
_GLANCE = 4096  # bytes read at first: most frames are shorter
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
REMEDY = "give another path, or delete it to begin anew"
_log = logging.getLogger("pocketflex")


class LogFile:
    """An open journal file; used by one thread at a time, which `lock` is for."""

    def __init__(self, path: str) -> None:
        """Open and lock it; make it if it is not there.

        Raises:
            JournalError: It cannot be used; the message says why and what to do.
        """
        self.path = path
        self.lock = Lock()
        self._fd = open_own(path)
        self.close = finalize(self, os.close, self._fd)
        self.close.atexit = False  # the lock goes with the process
        self._synced = monotonic()
        self._is_dirty = False
        self._is_listed = False  # whether the folder's entry is on the disk
        try:
            self._claim()
            self.nonce = self._read_nonce()
        except BaseException:
            self.close()
            raise
        self._framing = Framing(self.nonce)
        self._end = HEAD_NBYTES

    def _claim(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(
                f"{self.path}: another run is using this journal: wait until it has ended, or give another path"
            ) from None
        except OSError as error:
            raise JournalError(
                f"{self.path} cannot be locked ({error.strerror}): give a path on a local disk"
            ) from None

    def _read_nonce(self) -> bytes:
        head = os.pread(self._fd, HEAD_NBYTES, 0)
        if len(head) < HEAD_NBYTES and (MAGIC.startswith(head) or head.startswith(MAGIC)):  # new, or hardly begun
            head = make_head()
            self._write(head, 0)
        if head[: len(MAGIC)] != MAGIC:
            raise JournalError(f"{self.path} is not a journal of this version of pocketflex: give another path")
        nonce = nonce_of(head)
        if nonce is None:
            raise JournalError(f"{self.path} is damaged at its beginning, and nothing in it can be used: {REMEDY}")
        return nonce

    def frames(self, keep: int) -> Iterator[Frame]:
        """Every good frame, once, before anything is appended; then what cannot be read is cut off.

        Args:
            keep: How many bytes of the beginning of a body are wanted.
        """
        found = Scan()
        with open(self._fd, "rb", buffering=1 << 18, closefd=False) as stream:
            stream.seek(HEAD_NBYTES)
            yield from self._framing.scan(stream, keep, found)
        self._end = found.end
        lost = os.fstat(self._fd).st_size - found.end
        if lost:
            os.ftruncate(self._fd, found.end)
        if found.damaged or (lost and not found.is_torn):
            _log.warning(
                "%s is damaged: %d records and the last %d bytes cannot be read; their items are computed again",
                self.path, found.damaged, lost,
            )  # fmt: skip
        elif lost:
            _log.info("%s: its last record was not finished (%d bytes); its item is computed again", self.path, lost)

    def append(self, frames: Sequence[tuple[int, Sequence[Any]]]) -> None:
        """Write frames, given as kind and pieces of the body, which are bytes.

        Raises:
            OSError: There is no room, or the disk fails. The file ends where it did before.
        """
        pieces: list[Any] = []
        offset = self._end
        for kind, body in frames:
            pieces += self._framing.pack(kind, offset, body), *body
            offset += FRAME_NBYTES + sum(map(len, body))
        try:
            self._write_all(pieces)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._fd, self._end)
            error.filename = self.path
            error.add_note("results until now are in the journal: make room, and the same call goes on from there")
            raise
        self._end, self._is_dirty = offset, True

    def _write_all(self, pieces: list[Any]) -> None:
        """Write pieces behind the end: small ones together, large ones without a copy."""
        offset, small = self._end, bytearray()
        for piece in pieces:
            if len(piece) < _LARGE:
                small += piece
                continue
            self._write(small, offset)
            self._write(piece, offset + len(small))
            offset, small = offset + len(small) + len(piece), bytearray()
        self._write(small, offset)

    def _write(self, data: bytes | bytearray, offset: int) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, offset)
            if not written:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            view, offset = view[written:], offset + written

    def read(self, offset: int) -> tuple[int, bytes]:
        """Kind and body of the frame at `offset`, which `frames` has given.

        Raises:
            JournalError: It is not what it was then.
        """
        data = os.pread(self._fd, _GLANCE, offset)
        head = self._framing.unpack(data[:FRAME_NBYTES], offset)
        if head is not None and head.length > _GLANCE - FRAME_NBYTES:
            data += os.pread(self._fd, head.length + FRAME_NBYTES - len(data), offset + len(data))
        body = data[FRAME_NBYTES : FRAME_NBYTES + (head.length if head else 0)]
        if head is None or len(body) != head.length or crc32(body, head.seed) != head.check:
            raise JournalError(f"{self.path} was changed by somebody else while it was in use: {REMEDY}")
        return head.kind, body

    @property
    def is_due(self) -> bool:
        """Whether it is time to `sync`."""
        return self._is_dirty and monotonic() - self._synced > _EVERY

    def sync(self) -> None:
        """Wait until all is on the disk, so that the loss of power cannot take it."""
        if self._is_dirty and self.close.alive:
            self._is_dirty = False
            os.fdatasync(self._fd)
            if not self._is_listed:
                self._is_listed = True
                _sync_folder(self.path)
        self._synced = monotonic()


def open_own(path: str, flags: int = _FLAGS, allowed: int = 0o755) -> int:
    """A descriptor of a regular file that belongs to this user and that nobody else may write to.

    Args:
        path: The file; with O_CREAT among the flags it is made with mode 0600.
        flags: Those of `os.open`.
        allowed: The permissions that the file may have.

    Raises:
        JournalError: It is something else, or cannot be opened.
    """
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        is_link = error.errno == errno.ELOOP and os.path.islink(path)
        why = "it is a symbolic link, which could lead anywhere" if is_link else error.strerror
        raise JournalError(f"{path} cannot be opened: {why}") from None
    problem = _problem(os.fstat(fd), allowed)
    if problem:
        os.close(fd)
        raise JournalError(f"{path} {problem}")
    return fd


def _problem(status: os.stat_result, allowed: int) -> str:
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file: give another path"
    if status.st_uid != os.geteuid():
        return f"belongs to another user (uid {status.st_uid}), who could have put anything there: give another path"
    if mode & ~allowed & 0o777:
        may = "write" if mode & 0o022 else "read"
        return f"has mode {mode:o}, with which others may {may} it: chmod go-rw it if nobody has, or give another path"
    return ""


def _sync_folder(path: str) -> None:
    fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
