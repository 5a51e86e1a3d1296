"""The black box of a worker: where its last Python stack is found when it is dead.

    spawner                                  worker
    make one            ──── fork ────────▶  arm it
                                             SIGSEGV, SIGABRT, ...: write the stack, end by that signal
    ask: signal STACK   ──────────────────▶  write the stack, end by that signal
    reap it, read the box

faulthandler writes the stack, in C and within the signal handler: it needs neither the GIL nor the Python
loop, so a C loop that never returns has a stack too. STACK has no other handler, so once the stack is
written it ends the process: whoever has asked waits for that end, and for nothing else.

The box is a memfd. Nothing is done for an item or a call; what is written costs the dying worker alone.

What is not promised: SIGKILL and exits leave no stack. Items that call `faulthandler.enable` themselves have
it where they say, until the next job. In items that handle or block STACK it does what they say, and they
are killed a moment later without a stack.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import resource
import signal

STACK = int(signal.SIGRTMAX) - 4  # 60: a number that no program and no library is known to use
_HIGH = 768  # items that close "all" descriptors, or whose own take the next free number, seldom come so far
_MOST = 16 << 10  # bytes: a hundred frames, which is where faulthandler stops


class BlackBox:
    """One worker's; the spawner makes and reads it, the worker inherits and arms it."""

    def __init__(self, fd: int) -> None:
        """Use a descriptor of the box."""
        self.fd = fd

    @classmethod
    def make(cls) -> BlackBox:
        """An empty box.

        Raises:
            OSError: There is no descriptor left.
        """
        return cls(os.memfd_create("pocketflex-stack", os.MFD_CLOEXEC))

    # --- the spawner ------------------------------------------------------------------------------

    def read(self) -> str:
        """The stack that is in it, empty if there is none."""
        return os.pread(self.fd, _MOST, 0).decode("ascii", "replace")

    def close(self) -> None:
        """Give it back."""
        os.close(self.fd)

    # --- the worker -------------------------------------------------------------------------------

    def lift(self) -> None:
        """Move it out of the way of what items open and close."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _HIGH if soft == resource.RLIM_INFINITY else min(_HIGH, soft * 3 // 4)
        low, self.fd = self.fd, fcntl.fcntl(self.fd, fcntl.F_DUPFD_CLOEXEC, most)
        os.close(low)

    def arm(self) -> None:
        """Have the stack written into it, at the end or when it is asked for; again, where items have changed that."""
        faulthandler.enable(self.fd, all_threads=False)  # that of the item: others may be many
        faulthandler.register(STACK, self.fd, all_threads=False, chain=True)  # then what it does without: it ends us

    def part(self) -> None:
        """In a child that an item has forked: its end is not the worker's."""
        faulthandler.disable()
        faulthandler.unregister(STACK)
