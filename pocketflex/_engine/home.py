"""Where the one pool of this process lives: made at the first use, ended at exit, never shared with a fork."""

from __future__ import annotations

import atexit
import os
import sys

from .exclusive import Exclusive
from .pool import Pool
from .sizing import thread_limits
from .transport import Surroundings


class Home:
    """The process's pool, if it has one."""

    def __init__(self) -> None:
        self._lock = Exclusive()
        self._pool: Pool | None = None

    def pool(self) -> Pool:
        """The pool; made if there is none.

        Raises:
            OSError: No process, memory or descriptor can be had.
        """
        with self._lock:
            if self._pool is None:
                self._pool = Pool(dict(os.environ))
            return self._pool

    def leave(self) -> None:
        """End the pool, if there is one."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def abandon(self) -> None:
        """In a forked child: the pool is the parent's, forget it without ending it."""
        pool, self._pool = self._pool, None
        self._lock = Exclusive()  # another thread may have held the old one
        if pool is not None:
            pool.disown()


def surroundings(workers: int) -> Surroundings:
    """Where this process stands now, with the threads that each of so many workers may start."""
    try:
        folder = os.getcwd()
    except FileNotFoundError:  # it has been deleted; workers then stay where they are
        folder = ""
    limits = {name.encode(): share.encode() for name, share in thread_limits(workers, os.environ).items()}
    environ = {**limits, **os.environb}  # bytes: to decode them would cost more than all the rest of a short call
    return Surroundings(folder, tuple(sys.path), tuple(sys.argv), environ)


_home = Home()
shared_pool = _home.pool
shutdown = _home.leave
atexit.register(shutdown)
os.register_at_fork(after_in_child=_home.abandon)
