"""Where the calls of this process stand: what an item may see of it besides its arguments."""

from __future__ import annotations

import os
import pickle
import sys
from typing import Any

from .ears import Listening
from .sizing import thread_limits, thread_share
from .transport import Surroundings, environ_now


class Standpoint:
    """Where this process stands: the same bytes as long as nothing changes, so that it need not be sent again."""

    def __init__(self) -> None:
        self._known: tuple[tuple[Any, ...], bytes] = (), b""
        self._listening = Listening()

    def look(self, workers: int) -> bytes:
        """A pickle of where this process stands now, with the threads that each of so many workers may start."""
        try:
            folder = os.getcwd()
        except FileNotFoundError:  # it has been deleted; workers then stay where they are
            folder = ""
        seen, known = self._known
        ears = self._listening.look()
        if seen != (folder, thread_share(workers), sys.path, sys.argv, environ_now(), ears):
            environ = environ_now().copy()
            seen = folder, thread_share(workers), [*sys.path], [*sys.argv], environ, ears
            limits = {name.encode(): share.encode() for name, share in thread_limits(workers, os.environ).items()}
            known = pickle.dumps(Surroundings(folder, tuple(sys.path), tuple(sys.argv), {**limits, **environ}, ears))
            self._known = seen, known  # at once: another thread may be here too
        return known


surroundings = Standpoint().look
