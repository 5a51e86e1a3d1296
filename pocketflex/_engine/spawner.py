"""The spawner: one small single-threaded process that forks workers on request. Here is the parent's side.

    parent ── launch ──▶ spawner ── fork ──▶ worker, worker, ...
       Fork(slot) + socket, board ──▶
       Kill(slot)          ──▶                (nursery.py: what runs in the spawner)
                           ◀── Exited(slot, death)

Why not fork from the parent: it may have threads, whose locks a fork copies in any state. Why not
start a fresh interpreter a worker: it costs 60 ms and imports ``__main__`` again. The spawner has no
thread and nothing of the user's, has imported what a worker needs, and forks one in milliseconds.

It ends when the parent does: its socket closes, or the parent's pidfd reports its end even if a
child of the parent's still holds a copy of the socket. It then kills the workers and waits for them.
Should it be killed itself, each worker gets SIGKILL from the kernel (PR_SET_PDEATHSIG); that signal
fires when the *thread* that forked ends, which is another reason for a process with a single one.

It is started first of all, while the parent has imported next to nothing of the engine, so that both
import at the same time (launch.py): hence it is told of the board only with each worker.

The spawner is in a session of its own, so that Ctrl-C in a terminal reaches the parent alone.
"""

from __future__ import annotations

import pickle
import socket
from contextlib import suppress

from . import native
from .launch import Process
from .orders import Exited, Fork, Kill
from .packets import Disconnected, receive_packet, send_packet
from .poller import Poller


class Spawner:
    """The process, as its parent sees it."""

    def __init__(self, process: Process, poller: Poller) -> None:
        """Take over a process that `launch` has started, and have `poller` wait for news of it."""
        self._process = process
        poller.add(process.fd)
        self._socket = socket.socket(fileno=process.fd)
        if _is_guarded():
            native.admit(self._process.pid)  # workers fetch large items from this process's memory

    def fileno(self) -> int:
        """Readable when a worker has ended, or the spawner itself."""
        return self._socket.fileno()

    def fork(self, slot: int, connection: socket.socket, board: int) -> None:
        """Ask for a worker that serves `connection`, with the board's descriptor; it may be written to at once."""
        self._tell(Fork(slot), connection.fileno(), board)

    def kill(self, slot: int, *, wants_stack: bool = False) -> None:
        """End a worker, whatever it is doing; if its stack is wanted, it has a moment to write it."""
        self._tell(Kill(slot, wants_stack))

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
