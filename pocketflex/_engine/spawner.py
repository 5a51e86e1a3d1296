"""The spawner: one small single-threaded process that forks workers on request. Here is the parent's side.

    parent ── Popen ──▶ spawner ── fork ──▶ worker, worker, ...
       Fork(slot) + socket ──▶
       Kill(slot)          ──▶                (nursery.py: what runs in the spawner)
                           ◀── Exited(slot, exit code)

Why not fork from the parent: it may have threads, whose locks a fork copies in any state. Why not
start a fresh interpreter a worker: it costs 60 ms and imports ``__main__`` again. The spawner has no
thread and nothing of the user's, has imported what a worker needs, and forks one in milliseconds.

It ends when the parent does: its socket closes, or the parent's pidfd reports its end even if a
child of the parent's still holds a copy of the socket. It then kills the workers and waits for them.
Should it be killed itself, each worker gets SIGKILL from the kernel (PR_SET_PDEATHSIG); that signal
fires when the *thread* that forked ends, which is another reason for a process with a single one.

The spawner is in a session of its own, so that Ctrl-C in a terminal reaches the parent alone.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from contextlib import suppress

from . import native
from .board import Board
from .nursery import Exited, Fork, Kill
from .packets import Disconnected, open_pair, receive_packet, send_packet

_BOOT = (
    "import sys; sys.path[:] = sys.argv[4:]; from pocketflex._engine.nursery import main; "
    "main(*map(int, sys.argv[1:4]))"
)


class Spawner:
    """The process, as its parent sees it."""

    def __init__(self, board: Board, environ: dict[str, str]) -> None:
        """Start the process; it becomes ready in the background, requests wait in its socket.

        Raises:
            OSError: The process cannot be started.
        """
        self._socket, theirs = open_pair()
        with theirs:
            arguments = [str(theirs.fileno()), str(board.descriptor), str(os.getpid()), *map(str, sys.path)]
            self._process = subprocess.Popen(
                [sys.executable, *_interpreter_flags(), "-c", _BOOT, *arguments],
                pass_fds=(theirs.fileno(), board.descriptor),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=None if _has_folder() else "/",  # Python 3.13 cannot start in one that has been deleted
                env={**environ, "POCKETFLEX_NO_NATIVE": "0" if native.IS_NATIVE else "1"},  # as here, whatever it was
            )

        if _is_guarded():
            native.admit(self._process.pid)  # workers fetch large items from this process's memory

    def fileno(self) -> int:
        """Readable when a worker has ended, or the spawner itself."""
        return self._socket.fileno()

    def fork(self, slot: int, connection: socket.socket) -> None:
        """Ask for a worker that serves `connection`; it may be written to at once."""
        self._tell(Fork(slot), connection.fileno())

    def kill(self, slot: int) -> None:
        """End a worker, whatever it is doing."""
        self._tell(Kill(slot))

    def receive(self) -> list[Exited] | None:
        """The workers that have ended since the last call; None if the spawner is gone."""
        ended: list[Exited] = []
        try:
            while received := receive_packet(self._socket, block=False):
                ended.append(pickle.loads(received[0]))
        except Disconnected:
            return ended or None
        return ended

    def close(self) -> None:
        """End the spawner and with it every worker; returns when all of them are gone."""
        with suppress(OSError):  # closing alone would not do where a forked child has a copy
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._process.wait()

    def disown(self) -> None:
        """In a forked child: close the copy of the socket, and leave the process to the parent."""
        self._socket.close()
        self._process.returncode = 0  # or its destructor would warn that it still runs

    def _tell(self, request: Fork | Kill, *descriptors: int) -> None:
        with suppress(Disconnected):  # the spawner is gone, and its workers with it: `receive` says so
            send_packet(self._socket, pickle.dumps(request), descriptors)


def _is_guarded() -> bool:
    """Whether Yama lets only a process's ancestors read its memory; Linux, Documentation/admin-guide/LSM/Yama.rst."""
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope") as scope:
            return scope.read().strip() == "1"
    except OSError:
        return False


def _has_folder() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _interpreter_flags() -> list[str]:
    """What of this interpreter's command line changes what code does."""
    flags = ["-O"] * sys.flags.optimize + ["-I"] * sys.flags.isolated
    flags += [f"-W{option}" for option in sys.warnoptions]
    if sys.flags.utf8_mode:
        flags.append("-Xutf8")
    return flags
