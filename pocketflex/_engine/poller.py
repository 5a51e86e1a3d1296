"""One blocking wait on everything: sockets of workers and spawner, and a nudge from other threads."""

from __future__ import annotations

import os
import select
from contextlib import suppress

_LONGEST = 86_400.0  # seconds; epoll counts milliseconds in a C int


class Poller:
    """epoll and an eventfd; `descriptor` is readable whenever `poll` would return at once."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._nudge = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.add(self._nudge)

    def add(self, fd: int) -> None:
        """Wait for `fd` too."""
        self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        """Wait for `fd` no longer; to be called before it is closed."""
        self._epoll.unregister(fd)

    def poll(self, seconds: float) -> list[int]:
        """Block until something is readable, or for so many seconds (a day at the most); returns the descriptors."""
        ready = [fd for fd, _ in self._epoll.poll(min(seconds, _LONGEST))]
        if self._nudge in ready:
            ready.remove(self._nudge)
            with suppress(BlockingIOError):  # another thread was faster
                os.eventfd_read(self._nudge)
        return ready

    def nudge(self) -> None:
        """End the wait of another thread."""
        os.eventfd_write(self._nudge, 1)

    def __del__(self) -> None:
        # here and not in a `close`: another thread may be waiting when the pool is shut down
        if hasattr(self, "_nudge"):
            os.close(self._nudge)
