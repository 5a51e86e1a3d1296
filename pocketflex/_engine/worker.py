"""A worker: claims items, runs them, tells the parent what became of them.

The life of a claim here:

    1. The ledger of a job has a block with grains that nobody owns; this worker takes some of them.
    2. The block is read in place. Before an item is touched its index is put on the board: whatever
       ends this process from then on, unpickling, the item itself or pickling its result, is known to
       be that item's doing.
    3. Outcomes are collected, written to this worker's arena and told by a record on the board, at the
       end of the claim and every 45 ms: a crash repeats no more finished work than that, and a slow
       item's result does not wait for its neighbours.
    4. After `BUDGET` seconds what has not begun is handed back, for a worker that is idle.

With nothing to claim it waits for the parent to ring. One thread, no lock, no signal handler: a worker
can be killed at any moment and owes nobody.
"""

from __future__ import annotations

import gc
from collections import deque

from . import failures, native
from .board import HEAD, JOB, REST, TAIL, WAITS, Board, Record, Slot, Told
from .claims import ClaimRun
from .fetching import Fetcher
from .items import ItemReader
from .ledger import Ledger
from .loading import load_call
from .packets import Disconnected
from .role import become_worker
from .task import Task
from .transport import Drop, Forget, Load, LoadFailed, Message, Ring, Transport


class Desk:
    """What a worker tells the parent: records on the board, and a ring if the parent waits."""

    def __init__(self, transport: Transport, board: Board, number: int) -> None:
        self.number = number
        self.transport = transport
        self.words = board.slot(number).words
        self.rests = 0  # how often this worker has rested
        self.mail: deque[Message] = deque()  # what came while there was no room for a record
        self._slot = Slot(self.words)
        self._parent = board.parent

    def tell(self, record: Record) -> None:
        """Write a record; waits while there is no room for it."""
        if record.nbytes:
            self.transport.introduce(record.segment)
        while not self._slot.push(record):
            self._wait_for_room()
        native.fence()
        if native.load(self._parent, WAITS):
            self.transport.send(Ring())

    def _wait_for_room(self) -> None:
        words = self.words
        self.rests += 1
        native.store(words, REST, -self.rests)
        native.fence()
        if words[HEAD] - native.load(words, TAIL) >= 62:
            message = self.transport.receive()
            if message is not None:
                self.mail.append(message)
        native.store(words, REST, 0)


class Worker:
    """The main loop of a worker process."""

    def __init__(self, transport: Transport, board: Board, number: int, parent: int) -> None:
        self._fetcher = Fetcher(parent)
        self._transport = transport
        self._lock = board.descriptor
        self._desk = Desk(transport, board, number)
        self._tasks: deque[Task] = deque()  # the next to be served first
        self._held: list[tuple[int, int, ItemReader]] = []  # job, block: those that the user's code still refers to

    def serve(self) -> None:
        """Work until the parent closes its end."""
        become_worker()
        while True:
            try:
                self._obey_all()
                if not self._work():
                    self._rest()
            except Disconnected:
                return

    def _work(self) -> bool:
        """Run one claim of the job whose turn it is; False if there is nothing to claim."""
        for _ in range(len(self._tasks)):
            task = self._tasks[0]
            self._tasks.rotate(-1)
            if task.ledger.is_open and self._run(task):
                return True
        return False

    def _run(self, task: Task) -> bool:
        words, number = self._desk.words, self._desk.number
        native.store(words, JOB, task.job)
        native.fence()  # the parent closes the ledger first and then looks who runs the job
        claim = None if task.ledger.is_closed else task.ledger.claim(number, task.want())
        if claim is not None:
            reader = task.read(claim.entry, self._transport, self._fetcher)
            run = ClaimRun(self._desk, task, claim, reader)
            run.run()
            if run.is_held:
                self._held.append((task.job, claim.entry.number, reader))
            self._let_go()
        native.store(words, JOB, -1)
        return claim is not None

    def _let_go(self) -> None:
        still = [held for held in self._held if held[2].is_held()]
        for job, block in {held[:2] for held in self._held} - {held[:2] for held in still}:
            self._desk.tell(Record(Told.LET_GO, job, block))
        self._held = still

    def _rest(self) -> None:
        words = self._desk.words
        self._let_go()
        self._desk.rests += 1
        native.store(words, REST, self._desk.rests)
        native.fence()
        message = None if any(task.ledger.is_open for task in self._tasks) else self._transport.receive()
        native.store(words, REST, 0)
        if message is not None:
            self._obey(message)

    def _obey_all(self) -> None:
        while (message := self._next_message()) is not None:
            self._obey(message)

    def _next_message(self) -> Message | None:
        return self._desk.mail.popleft() if self._desk.mail else self._transport.receive(block=False)

    def _obey(self, message: Message) -> None:
        if isinstance(message, Load):
            self._load(message)
        elif isinstance(message, Drop):
            self._drop(message.job)
        elif isinstance(message, Forget):
            for task in self._tasks:
                task.forget(message.segment)
            self._transport.lens.forget(message.segment)

    def _load(self, message: Load) -> None:
        try:
            call = load_call(self._transport, message)
        except BaseException as error:
            self._transport.send(LoadFailed(message.job, failures.dump_error(error)))
            return
        ledger = Ledger(self._transport.lens.view(message.ledger), self._lock)
        has_buffers = message.parcel.buffers is not None
        self._tasks.append(Task(message.job, call, ledger, message.timeout, message.is_fixed, has_buffers))

    def _drop(self, job: int) -> None:
        has_buffers = any(task.job == job and task.has_buffers for task in self._tasks)
        self._tasks = deque(task for task in self._tasks if task.job != job)
        if has_buffers:
            gc.collect()  # a function that came by value refers to itself, and its arrays may be large
        self._desk.tell(Record(Told.DROPPED, job, 0))
