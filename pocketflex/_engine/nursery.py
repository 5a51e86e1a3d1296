"""What runs in the spawner's process: it forks workers, kills and reaps them. spawner.py has the picture."""

from __future__ import annotations

import errno
import fcntl
import gc
import math
import os
import pickle
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .blackbox import STACK, BlackBox
from .board import CANCELLED, JOB, Board
from .oom import OomKills
from .orders import Death, Exited, Kill
from .packets import Disconnected, receive_packet, send_packet
from .shm import Arena
from .socket_transport import SocketTransport
from .worker import Worker

_PR_SET_PDEATHSIG = 1  # prctl(2)
_OWN_AND_HERE = 0x1 | 0x2, 0x02 | 0x10  # mmap(2): PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_MOMENT = 0.3  # seconds for a worker to write its stack: it takes a millisecond, unless signals do not reach it


def main(parent: int) -> None:
    """The spawner's process, started with its parent's pid and with its socket as standard input."""
    gc.enable()  # it was switched off while this was imported: modules are no garbage
    connection = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
    while (filler := os.open(os.devnull, os.O_RDWR)) < 3:
        pass  # takes the place of a standard stream that the parent had closed
    os.dup2(filler, 0)  # in place of the socket; programs that items start inherit it
    os.close(filler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where the parent ignores it, ended workers could not be waited for
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        parent_end = os.pidfd_open(parent)
    except ProcessLookupError:
        return
    if os.getppid() != parent:
        return  # it ended while this process started
    with socket.socket(fileno=connection) as parent_socket:
        Nursery(parent_socket, parent).run(parent_end)


@dataclass(slots=True)
class _Child:
    """A worker: its process, its black box, and when it is to be killed if it has been asked to end."""

    pid: int
    box: BlackBox
    deadline: float = math.inf  # by time.monotonic
    is_killed: bool = False


class Nursery:
    """Forks, kills and reaps."""

    def __init__(self, connection: socket.socket, parent: int) -> None:
        self._socket = connection
        self._parent = parent
        self._die_with_parent = _load_prctl()
        _keep_memory()
        self._slots: dict[int, int] = {}  # pidfd -> slot
        self._children: dict[int, _Child] = {}  # by slot
        self._poll = select.poll()
        self._oom_kills = OomKills()

    def run(self, parent_end: int) -> None:
        """Serve until the parent is gone, then leave no worker behind."""
        gc.freeze()  # workers share these objects' pages; a collection would copy them
        self._poll.register(self._socket, select.POLLIN)
        self._poll.register(parent_end, select.POLLIN)
        while self._serve_once(parent_end):
            pass
        for child in self._children.values():
            os.kill(child.pid, signal.SIGKILL)
        for child in self._children.values():
            os.waitpid(child.pid, 0)

    def _serve_once(self, parent_end: int) -> bool:
        for fd, _ in self._poll.poll(self._patience()):
            if fd == parent_end:
                return False
            if fd in self._slots:
                self._reap(fd)
            elif not self._obey():
                return False
        now = time.monotonic()
        for child in self._children.values():
            if child.deadline <= now:
                self._kill(child)
        return True

    def _patience(self) -> int | None:
        """Milliseconds until a worker that has been asked to end is killed, None if there is none."""
        deadline = min((child.deadline for child in self._children.values()), default=math.inf)
        return None if deadline == math.inf else max(0, math.ceil(1000 * (deadline - time.monotonic())))

    def _kill(self, child: _Child, *, wants_stack: bool = False) -> None:
        """End a worker, which is not reaped yet, so the pid is its own; if its stack is wanted, in a moment."""
        child.is_killed = True
        child.deadline = time.monotonic() + _MOMENT if wants_stack else math.inf
        os.kill(child.pid, STACK if wants_stack else signal.SIGKILL)

    def _obey(self) -> bool:
        try:
            received = receive_packet(self._socket, block=True)
        except Disconnected:
            return False
        assert received is not None  # it blocks
        request, descriptors = pickle.loads(received[0]), received[1]
        if isinstance(request, Kill):
            if request.slot in self._children:
                self._kill(self._children[request.slot], wants_stack=request.wants_stack)
            return True
        try:
            if len(descriptors) < 2:  # the kernel drops those for which there is no room
                raise OSError(errno.EMFILE, "no descriptor is left for it")
            self._fork(request.slot, *descriptors)
        except OSError as error:
            self._tell(Exited(request.slot, Death(1), f"a worker process could not be started: {error}"))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _fork(self, slot: int, connection: int, board: int) -> None:
        spawner, box = os.getpid(), BlackBox.make()
        pid = os.fork()
        if pid == 0:
            self._become_worker(slot, connection, board, box, spawner)
        try:
            end = os.pidfd_open(pid)
        except OSError:  # no descriptor is left: what cannot be watched must not run
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            box.close()
            raise
        self._children[slot] = _Child(pid, box)
        self._slots[end] = slot
        self._poll.register(end, select.POLLIN)

    def _become_worker(self, slot: int, connection: int, inherited: int, box: BlackBox, spawner: int) -> None:
        code = 70  # EX_SOFTWARE: the worker itself is broken
        try:
            os.setpgid(0, 0)  # what an item sends to its process group is nobody else's
            self._die_with_parent()
            if os.getppid() == spawner:
                _close_all_but(connection, inherited, box.fd)
                box.lift()
                box.arm()
                board = Board.inherit(inherited)
                transport = SocketTransport(socket.socket(fileno=connection), Arena())
                os.register_at_fork(after_in_child=lambda: _part_from(board, transport, slot, box))
                Worker(transport, board, slot, self._parent, box).serve()
                code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _reap(self, end: int) -> None:
        self._poll.unregister(end)
        os.close(end)
        slot = self._slots.pop(end)
        child = self._children.pop(slot)
        _, status, usage = os.wait4(child.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        stack = child.box.read() if code < 0 else ""  # what is in it was not the end of one that has exited since
        is_starved = self._oom_kills.explain_one() if code == -signal.SIGKILL and not child.is_killed else None
        child.box.close()
        self._tell(Exited(slot, Death(code, usage.ru_maxrss << 10, stack, is_starved)))

    def _tell(self, event: Exited) -> None:
        with suppress(Disconnected):  # the parent is gone, which the poll reports next
            send_packet(self._socket, pickle.dumps(event))


def _load_prctl() -> Callable[[], None]:
    import ctypes  # here and not in the worker: it costs 5 ms

    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _keep_memory() -> None:
    """Have malloc keep what is freed, here and in the workers, instead of giving it back to the kernel.

    To touch the pages of an array of 128 KB for the first time costs more than to compute it.
    """
    import ctypes

    with suppress(AttributeError):  # a C library without mallopt
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the most that glibc takes
        mallopt(_M_TRIM_THRESHOLD, 256 << 20)


def _part_from(board: Board, transport: SocketTransport, slot: int, box: BlackBox) -> None:
    """In a child that an item has forked: make its view of shared memory its own, and have it leave the loop.

    The child comes back from the item into the same loop, perhaps in native code, and must not publish
    what it runs as if it were the worker, nor write its result where the worker writes its own. What it reads
    from its end of the connection is that there is no other.
    """
    box.part()
    for mapping, descriptor in ((board.mapping, board.descriptor), *transport.arena.mappings()):
        _make_private(mapping, descriptor)
    transport.part()
    words = board.slot(slot).words
    words[CANCELLED] = words[JOB]


def _make_private(mapping: Any, descriptor: int) -> None:
    import ctypes

    place = ctypes.c_char.from_buffer(mapping)
    remap = ctypes.CDLL(None).mmap
    remap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    remap(ctypes.addressof(place), len(mapping), *_OWN_AND_HERE, descriptor, 0)


def _close_all_but(*kept: int) -> None:
    lowest = 3
    for fd in sorted(kept):
        os.closerange(lowest, fd)
        lowest = fd + 1
    os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))
