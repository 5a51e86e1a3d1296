"""A worker's desk: what it tells the parent, how it waits, and what it keeps while it sleeps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress

from . import native
from .board import ASLEEP, HEAD, NEWS, POSTED, REST, SPIN, TAIL, WAITS, Board, Slot
from .records import Record
from .segments import available_memory
from .speech import Speech
from .stopwatch import Stopwatch
from .transport import Message, Ring, Transport
from .voice import Voice

_PAUSE = 2.0  # seconds of sleep after which a worker gives memory back: what is more than its share ...
_ABSENCE = 60.0  # ... and after so many more, again as long as the parent refers to results, what is more than usual
_SHARE = 64  # of the memory that is available, one part in so many ...
_LARGEST = 256 << 20  # ... but at most so many bytes: calls of large results with pauses between them find it warm
_USUAL = 32 << 20  # bytes that it keeps for ever: the results of a job of usual size


class Desk:
    """What a worker tells the parent: records on the board, and a ring if the parent waits."""

    def __init__(self, transport: Transport, board: Board, number: int) -> None:
        self.number = number
        self.transport = transport
        self.words = board.slot(number).words
        self.rests = 0  # how often this worker has rested
        self.mail: deque[Message] = deque()  # what came while there was no room for a record
        self.slot = Slot(self.words)
        self.dropped: list[int] = []  # jobs of which nothing is read any more; told with the next records
        self.posted = 0  # what POSTED was when the post was last looked at
        self.speech = Speech(Voice(transport, self.words))
        self._parent = board.parent

    def tell(self, record: Record) -> None:
        """Write a record, after all that items have said; waits while there is no room for it."""
        self.speech.flush()
        if record.nbytes:
            self.transport.introduce(record.segment)
        if self.dropped:
            record = record._replace(dropped=self.dropped.pop())
        while not self.slot.push(record):
            self._wait_for_room()
        native.store(self._parent, NEWS, self.number << 44 | self.words[HEAD])
        self.ring()

    def ring(self) -> None:
        """Ring the parent, if it waits for what has been written."""
        native.fence()
        if native.load(self._parent, WAITS):
            self.transport.send(Ring())

    def _wait_for_room(self) -> None:
        self.rests += 1
        native.store(self.words, REST, -self.rests)
        self.sleep(lambda: self.words[HEAD] - native.load(self.words, TAIL) < 62)
        native.store(self.words, REST, 0)

    def stopwatch(self) -> Stopwatch:
        """Measure from now on how long work takes."""
        return Stopwatch(is_crowded=not native.load(self._parent, SPIN))

    def watch(self) -> None:
        """Watch for something in the post, for as long as the parent allows it."""
        if nanoseconds := native.load(self._parent, SPIN):
            native.spin(self.words, POSTED, self.posted, nanoseconds)

    def sleep(self, has_news: Callable[[], bool]) -> None:
        """Sleep until a message comes, unless there is news already."""
        native.store(self.words, ASLEEP, 1)
        native.fence()
        if not has_news():
            self._cool()
            message = self.transport.receive()
            self.mail += [message] if message is not None else []
        native.store(self.words, ASLEEP, 0)

    def _cool(self) -> None:
        """Give memory back until a message comes, or nothing more can become free."""
        arena = self.transport.arena
        if self.transport.is_ready(_PAUSE):
            return
        with suppress(OSError):  # items have used up all descriptors, say
            arena.cool(max(_USUAL, min(_LARGEST, available_memory() // _SHARE)))
        while not self.transport.is_ready(_ABSENCE):
            arena.cool(_USUAL)
            if not arena.has_lent:
                return
