"""Runs a cell in a process of its own with a hard limit, and leaves nothing of it behind.

A pool may start processes in sessions of their own, and leave them. So the cell and all below it carry a mark in
their environment: by it they are found, told from what else runs here, and ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import psutil

from .contenders import CONTENDERS
from .rows import ROWS, SIGNALS, Act

TOP = Path(__file__).parents[2]
_MARK = "POCKETFLEX_BENCH_CELL"
_AFTER = 10.0  # seconds after the parent's end in which its processes may end
_INTERRUPTED = 15.0  # seconds that a pool has to end after Ctrl-C
_SMALL = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"'
_OWN = 'mount --bind "$0" /dev/shm && exec "$@"'  # what is left there is seen, and is nobody else's


class Cell:
    """One pool in one row; on a machine that is busy all may take `slowness` times as long."""

    def __init__(self, name: str, row: str, slowness: float = 1.0) -> None:
        self._row = row
        self._act = ROWS[row][1]
        self._patience = slowness * CONTENDERS[name].patience
        self._mark = uuid.uuid4().hex
        self._folder = tempfile.TemporaryDirectory()
        self._begun = Path(self._folder.name) / "begun"
        self._output = Path(self._folder.name) / "output"
        self._command = [sys.executable, "-m", "bench.faults.cell", name, row, str(self._begun)]
        self._memory = Path(self._folder.name) / "shm"
        self._memory.mkdir()
        if row == "shm":
            self._command = ["unshare", "-m", "sh", "-c", _SMALL, "sh", *self._command]
        elif _may_mount():
            self._command = ["unshare", "-m", "sh", "-c", _OWN, str(self._memory), *self._command]

    def run(self) -> dict[str, Any]:
        """What it tells, all lines in one; with `hung` if it did not end in time."""
        environ = {**os.environ, _MARK: self._mark, "PYTHONPATH": str(TOP)}
        with self._folder, open(self._output, "w") as output:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL,
                cwd=TOP, env=environ, start_new_session=True,
            )  # fmt: skip
            try:
                found = self._signal(process) if self._act is Act.SIGNAL else self._wait(process)
            finally:
                self._sweep()
                process.wait()
            return found | self._told()

    def _wait(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        """Until all has been told; how the pool ends is another row."""
        end = monotonic() + self._patience
        expected = 2 if self._act in (Act.RUN, Act.LIMIT) else 1
        while self._count() < expected:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
                has_told = self._count() >= expected  # all, and ended just now
                return {} if has_told else {"code": process.returncode}
            if monotonic() > end or self._told().get("none"):
                return {"hung": True}
        return {}

    def _signal(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        end = monotonic() + self._patience
        while not self._begun.exists():
            if monotonic() > end or process.poll() is not None:
                return {"lost": "no item began"}
            Event().wait(0.05)
        number, sent = SIGNALS[self._row], monotonic()
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
            with suppress(subprocess.TimeoutExpired):
                process.wait(_INTERRUPTED)
                return {"seconds": monotonic() - sent, "left": len(self._family())}
            return {"seconds": None}
        process.send_signal(number)
        while len(self._family()) > 0 and monotonic() < sent + _AFTER:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
            Event().wait(0.1)
        return {"left": len(self._family()), "memory": len(os.listdir(self._memory))}

    def _count(self) -> int:
        """How many lines have been told."""
        return sum(line.startswith("{") for line in self._output.read_text().splitlines())

    def _told(self) -> dict[str, Any]:
        told: dict[str, Any] = {}
        with suppress(FileNotFoundError):
            for line in self._output.read_text().splitlines():
                with suppress(ValueError):
                    told |= json.loads(line)
        return told

    def _family(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(_MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def _sweep(self) -> None:
        for _ in range(3):  # one that is killed may just have started another
            for process in self._family():
                with suppress(psutil.Error):
                    process.kill()


@cache
def _may_mount() -> bool:
    return not subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode
