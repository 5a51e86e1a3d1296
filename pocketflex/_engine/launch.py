"""How the spawner's process is started: quickly, so this module loads nothing that Python has not loaded itself.

It is the first step of the first parallel call, and every millisecond before it is a millisecond later for
the result: `subprocess`, `socket` and what they import take ten. Hence `posix_spawn`. What subprocess
does besides is done by the new process before anything else: it closes what it has inherited. Its
socket comes as standard input, the one descriptor that needs no flag to be handed over.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself makes enums
import _socket
import fcntl
import os
import sys
from contextlib import suppress

_BOOT = (
    "import gc, os, sys; os.closerange(3, os.sysconf('SC_OPEN_MAX')); gc.disable(); sys.path[:] = sys.argv[2:]; "
    "from pocketflex._engine.nursery import main; main(int(sys.argv[1]))"
)
_TO_DEFAULT = [_signal.SIGPIPE, _signal.SIGXFSZ]  # Python ignores them, and a child would inherit that


class Process:
    """A process that has been started, and the parent's end of its socket."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid = pid
        self.fd = fd

    def end(self) -> None:
        """End it before it has been of use."""
        end = _socket.socket(fileno=self.fd)
        with suppress(OSError):  # closing alone would not do where a forked child has a copy
            end.shutdown(_socket.SHUT_RDWR)
        end.close()
        self.wait()

    def wait(self) -> None:
        """Return when it has ended."""
        with suppress(ChildProcessError):  # somebody else has waited for it, or SIGCHLD is ignored
            os.waitpid(self.pid, 0)


def launch(environ: dict[str, str], is_native: bool) -> Process:
    """Start the spawner; it becomes ready in the background, requests wait in its socket.

    Raises:
        OSError: The process cannot be started.
    """
    ours, theirs = open_ends()
    arguments = [sys.executable, *_interpreter_flags(), "-c", _BOOT, str(os.getpid()), *map(str, sys.path)]
    environ = {**environ, "POCKETFLEX_NO_NATIVE": "0" if is_native else "1"}  # as here, whatever it was
    try:
        return Process(_spawn(arguments, environ, theirs), ours)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)


def _spawn(arguments: list[str], environ: dict[str, str], stdin: int) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, stdin, 0)]
    if not _has_folder():  # Python 3.13 cannot start in one that has been deleted
        return _spawn_slowly(arguments, environ, stdin, "/")
    try:
        return os.posix_spawn(
            sys.executable, arguments, environ, file_actions=actions, setsid=True, setsigdef=_TO_DEFAULT
        )
    except NotImplementedError:  # this Python was built for a C library that knows no `setsid` here
        return _spawn_slowly(arguments, environ, stdin, None)


def _spawn_slowly(arguments: list[str], environ: dict[str, str], stdin: int, folder: str | None) -> int:
    import subprocess

    process = subprocess.Popen(arguments, stdin=stdin, start_new_session=True, cwd=folder, env=environ)
    process.returncode = 0  # or its destructor would warn that it still runs
    return process.pid


def open_ends() -> tuple[int, int]:
    """Two connected descriptors that keep message boundaries: nothing is ever half read."""
    first, second = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    for end in (first, second):
        end.setblocking(True)  # whatever socket.setdefaulttimeout says
    return lift(first.detach()), lift(second.detach())


def lift(fd: int) -> int:
    """Move a descriptor above those of the standard streams, which may have been closed.

    Otherwise it takes the place of one, and what C code prints goes into a socket or into memory.
    """
    if fd > 2:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


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
