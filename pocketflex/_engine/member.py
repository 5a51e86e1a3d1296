"""One worker as the parent sees it: told of jobs, called, and asked what it runs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic_ns

from . import native
from .board import ASLEEP, BEGAN, COUNT, INDEX, JOB, REST, SAID, Slot
from .hatch import Hatch
from .orders import Death
from .packets import Disconnected
from .ranges import Running
from .records import Letter
from .transport import Load, Ring, Transport


@dataclass(eq=False, slots=True)
class Member:
    """One worker.

    Attributes:
        slot: Its slot on the board; its name everywhere in the parent.
        words: What it publishes there.
        transport: The parent's end of its connection.
        condemned: The job and the item for which it is being killed, if it is.
        is_dismissed: Whether its end is the pool's own doing.
        hatch: Where it is handed single items.
        rung: The last of its rests in which a ring was sent.
        woken: The last of its rests in which it was woken, by a ring or while it watched the board.
        end: What it ran when it ended, and how it did, once it has.
        heard: How many messages of what its items say have been taken.
        pieces: Those that are not whole yet.
    """

    slot: int
    words: Slot
    transport: Transport
    hatch: Hatch = field(init=False)
    condemned: Running | None = None
    is_dismissed: bool = False
    rung: int = 0
    woken: int = 0
    end: tuple[Running, Death] | None = None
    heard: int = 0
    pieces: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hatch = self.words.hatch()

    @property
    def is_idle(self) -> bool:
        """Whether it runs nothing, and an item can be handed to it."""
        return self.words.words[JOB] == -1 and not self.hatch.errand and not self.is_dismissed

    def has_news(self) -> bool:
        """Whether it has told something that has not been read."""
        return self.words.has_news() or self.hatch.has_news()

    @property
    def has_said(self) -> bool:
        """Whether its items have said something that has not been taken."""
        return self.heard < native.load(self.words.words, SAID)

    def send(self, load: Load) -> None:
        """Have it take part in a job: it loads the callable while the parent encodes the first items.

        Raises:
            Disconnected: The worker is gone.
        """
        if not self.words.post(Letter(load.job, load.sheet.segment, load.sheet.offset, load.nbytes)):
            self.transport.send(load)
        self.call()

    def call(self) -> None:
        """Have it look at its post and its jobs, now or as soon as it has run what it has claimed."""
        self.words.count_post()
        native.fence()
        words = self.words.words
        if words[ASLEEP] and words[REST] != self.rung:  # awake in this rest, it may sleep later in the same one
            self.rung = words[REST]
            with suppress(Disconnected):  # its end is about to be reported
                self.transport.send(Ring())

    def pay(self) -> None:
        """Send it what it is owed."""
        with suppress(Disconnected):  # its end is about to be reported
            if self.transport.flush():
                self.call()

    def ring(self) -> bool:
        """Wake it up if it rests, once in each rest: it is one worker for one thing to do. Says whether it has."""
        rest = self.words.words[REST]
        if rest in (0, self.woken):
            return False
        self.woken = rest
        self.call()
        return True

    @property
    def job(self) -> int:
        """The job of the items that it runs, -1 for none."""
        return self.words.words[JOB]

    @property
    def is_running(self) -> bool:
        """Whether it runs an item, or is about to run the one that it was handed."""
        return self.words.words[INDEX] >= 0 or self.hatch.errand != 0

    @property
    def is_asleep(self) -> bool:
        """Whether it waits in the kernel, or is about to."""
        return self.words.words[ASLEEP] != 0

    def running(self) -> Running:
        """What it runs."""
        return Running(self.words.words[JOB], self.words.words[INDEX])

    def seconds_running(self) -> tuple[Running, int, float]:
        """What it runs, how many items at once, and since when; an item of -1 between items."""
        words = self.words.words
        running = self.running()  # read before the time: the worker writes them in the other order
        if running.item < 0 or not words[BEGAN]:
            return Running(running.job, -1), 1, 0.0
        return running, words[COUNT], (monotonic_ns() - words[BEGAN]) / 1e9
