"""The race's side of a runner: its process and all below it, asleep unless it is their turn.

A cluster that waits for work uses up to a tenth of a CPU (heartbeats), a pool's threads wake up ten times a
second: with two CPUs everybody else would pay for that. So the whole tree of a lane is stopped (SIGSTOP)
between its turns. A lane that dies or does not answer is closed and says why; the others go on.

A lane is a process group of its own: Ctrl-C reaches the race alone. Should the race be killed, the kernel wakes the
runner, which wakes those below it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from multiprocessing.connection import Pipe, wait
from pathlib import Path

import psutil

from .messages import Reply, Request

ROOT = Path(__file__).parents[1]
_GOODBYE = 15.0  # seconds for a cluster to end by itself


class LaneError(Exception):
    """The runner has ended, or has not answered in time."""


class Lane:
    """One runner.

    Args:
        peer: Its name in the table of peers.
    """

    def __init__(self, peer: str) -> None:
        self._pipe, theirs = Pipe()
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- it is open as long as the lane
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.runner", peer, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[theirs.fileno()],
            env=_environment(),
            process_group=0,
        )
        theirs.close()

    def ask(self, request: Request, patience: float) -> Reply:
        """Wake the runner, ask it, and put it to sleep again.

        Raises:
            LaneError: No answer; the lane is closed.
        """
        self._signal(signal.SIGCONT)
        try:
            return self._converse(request, patience)
        finally:
            self._signal(signal.SIGSTOP)

    def close(self) -> None:
        """End the runner and all below it, gently if it still answers."""
        tree = self._tree()
        self._signal(signal.SIGCONT)
        self._pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GOODBYE)
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        self._log.close()

    def _converse(self, request: Request, patience: float) -> Reply:
        ended = os.pidfd_open(self._process.pid)
        try:
            self._pipe.send(request)
            ready = wait([self._pipe, ended], patience)
            if self._pipe in ready:
                reply: Reply = self._pipe.recv()
                return reply
        except (EOFError, OSError):
            pass
        finally:
            os.close(ended)
        raise LaneError(f"no answer in {patience:.0f} s" if self._process.poll() is None else self._last_words())

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        return f"ended with {self._process.returncode}: {lines[-1] if lines else 'without a word'}"

    def _tree(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _signal(self, number: signal.Signals) -> None:
        for process in self._tree():  # the root first: it must not start another meanwhile
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


def _environment() -> dict[str, str]:
    """As here, but bytecode may be kept: what pip has installed is compiled, and so must be what it has not."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    given = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**given, "PYTHONPATH": path}
