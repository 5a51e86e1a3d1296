"""Whether this process is a worker. Apart from worker.py, because who asks is seldom one and need not load it."""

from __future__ import annotations

_is_worker = False


def is_worker() -> bool:
    """Whether this process is a worker, where the engine runs its items serially."""
    return _is_worker


def become_worker() -> None:
    """From now on this process is one."""
    global _is_worker
    _is_worker = True
