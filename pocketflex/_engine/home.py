"""Where the one pool of this process lives: made at the first use, ended at exit, never shared with a fork.

This module loads little: `prepare` is the first thing that a parallel call does, so that the spawner
starts while the rest of the engine, and whatever pickles the call, is still being imported here.
"""

from __future__ import annotations

import atexit
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from . import native
from .exclusive import Exclusive
from .launch import Process, launch
from .role import is_worker

if TYPE_CHECKING:
    from .pool import Pool


class Home:
    """The process's pool, if it has one."""

    def __init__(self) -> None:
        self._lock = Exclusive()
        self._pool: Pool | None = None
        self._process: Process | None = None  # the spawner's, until the pool has it

    def prepare(self) -> None:
        """Start the spawner, unless there is one. What stands in its way is raised by the call that needs it."""
        if self._pool is not None or self._process is not None or is_worker():
            return
        with self._lock:
            if self._pool is None and self._process is None:
                with suppress(OSError):
                    self._process = launch(dict(os.environ), native.IS_NATIVE)

    def pool(self) -> Pool:
        """The pool; made if there is none.

        Raises:
            OSError: No process, memory or descriptor can be had.
        """
        if (pool := self._pool) is not None:
            return pool
        from .pool import Pool

        with self._lock:
            if self._pool is None:
                self._pool = Pool(dict(os.environ), self._process)
                self._process = None  # only now: a pool that could not be made leaves it here
            return self._pool

    def leave(self) -> None:
        """End the pool, if there is one."""
        with self._lock:
            pool, self._pool = self._pool, None
            process, self._process = self._process, None
        if pool is not None:
            pool.close()
        if process is not None:
            process.end()

    def abandon(self) -> None:
        """In a forked child: the pool is the parent's, forget it without ending it."""
        pool, self._pool = self._pool, None
        process, self._process = self._process, None
        self._lock = Exclusive()  # another thread may have held the old one
        if pool is not None:
            pool.disown()
        if process is not None:
            os.close(process.fd)


_home = Home()
prepare = _home.prepare
shared_pool = _home.pool
shutdown = _home.leave
atexit.register(shutdown)
os.register_at_fork(after_in_child=_home.abandon)
