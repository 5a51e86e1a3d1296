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

With nothing to claim it watches the board for a moment, where it has just worked, and then waits for the
parent to ring. One thread, no lock, no signal handler: a worker
can be killed at any moment and owes nobody.
"""

from __future__ import annotations

import gc
import os
from collections import deque
from time import monotonic

from ..call import Call
from . import failures, native
from .blackbox import BlackBox
from .board import JOB, PACKETS, POSTED, REST, SPENT, Board, loading
from .claims import ClaimRun
from .desk import Desk
from .errand import ErrandRun
from .fetching import Fetcher
from .items import ItemReader
from .ledger import NBYTES, Ledger
from .loading import Loader
from .pace import TARGET
from .packets import Disconnected
from .records import Record, Told
from .role import become_worker
from .segments import Region
from .task import Task
from .transport import Forget, Load, LoadFailed, Message, Terms, Transport
from .wear import Wear


class Worker:
    """The main loop of a worker process."""

    def __init__(self, transport: Transport, board: Board, number: int, parent: int, box: BlackBox) -> None:
        self._box = box
        self._fetcher = Fetcher(parent)
        self._transport = transport
        self._lock = board.descriptor
        self._desk = Desk(transport, board, number)
        self._loader = Loader(transport, self._desk.speech)
        self._hatch = self._desk.slot.hatch()
        self._errands = ErrandRun(self._desk, self._hatch, self._loader)
        self._tasks: deque[Task] = deque()  # the first is being served
        self._used = 0.0  # seconds of its turn
        self._failed: list[tuple[int, Ledger]] = []  # jobs whose callable cannot be loaded, until they are over
        self._packets = 0  # what PACKETS was when the socket was last looked at
        self._has_worked = False  # since it last rested
        self._wear = Wear()
        self._pid = os.getpid()
        self._is_spent = False  # has run enough, and is to be replaced
        self._held: list[tuple[int, int, ItemReader]] = []  # job, block: those that the user's code still refers to

    def serve(self) -> None:
        """Work until the parent closes its end, or until this process has run enough."""
        become_worker()
        native.store(self._desk.words, JOB, -1)
        while not self._is_spent:
            try:
                self._obey_all()
                if (
                    os.getpid() != self._pid
                ):  # to load a callable, or its initializer, has forked, and this is the child
                    return
                if self._work():
                    self._has_worked = True
                else:
                    self._rest()
            except Disconnected:
                return
        native.store(self._desk.words, JOB, SPENT)

    def _work(self) -> bool:
        """Run one claim of the job whose turn it is; False if there is nothing to claim.

        A turn lasts for some time, not for one claim: else each claim of a short job waited for a long one of another.
        """
        for _ in range(len(self._tasks) + 1):
            if self._used < TARGET and self._tasks:
                task, begun = self._tasks[0], monotonic()
                if task.ledger.is_open and self._run(task):
                    self._used += monotonic() - begun
                    return True
            # only now: a job that has come meanwhile is behind those that wait, and before this one
            self._tasks.rotate(-1)
            self._used = 0.0
        return False

    def _run(self, task: Task) -> bool:
        words, number = self._desk.words, self._desk.number
        native.store(words, JOB, task.job)
        native.fence()  # the parent closes the ledger first and then looks who runs the job
        want = task.want(self._wear.left(task.endurance))
        claim = None if task.ledger.is_closed else task.ledger.claim(number, want)
        if claim is not None:
            reader = task.read(claim.entry, self._transport, self._fetcher)
            run = ClaimRun(self._desk, task, claim, reader)
            run.run()
            self._is_spent = self._wear.end(task.endurance, run.ran)
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
        desk = self._desk
        self._let_go()
        self._drop_closed()
        desk.rests += 1
        native.store(desk.words, REST, desk.rests)
        native.fence()
        if self._has_worked and not self._has_news():  # the next job of a row of short ones comes at once
            desk.watch()
        self._has_worked = False
        if not desk.dropped and not self._has_news():
            desk.sleep(self._has_news)
        native.store(desk.words, REST, 0)
        while desk.dropped and not self._has_news():
            desk.tell(Record(Told.DROPPED, 0, 0))

    def _has_news(self) -> bool:
        return native.load(self._desk.words, POSTED) != self._desk.posted or any(
            task.ledger.is_open for task in self._tasks
        )

    def _obey_all(self) -> None:
        """Read letters and messages, if there are any."""
        desk = self._desk
        while desk.mail:
            self._obey(desk.mail.popleft())
        posted = native.load(desk.words, POSTED)
        if posted == desk.posted:
            return
        desk.posted = posted
        for letter in desk.slot.letters():
            self._load(Load(letter.job, Region(letter.segment, letter.offset, 0), letter.nbytes))
        if (packets := native.load(desk.words, PACKETS)) != self._packets:
            self._packets = packets
            while (message := self._transport.receive(block=False)) is not None:
                self._obey(message)
        self._drop_closed()
        if errand := self._hatch.asked():
            self._errands.run(errand)
            self._has_worked = True

    def _obey(self, message: Message) -> None:
        if isinstance(message, Load):
            self._load(message)
        elif isinstance(message, Forget):
            for task in self._tasks:
                task.forget(message.segment)
            self._transport.lens.forget(message.segment)

    def _load(self, message: Load) -> None:
        native.store(self._desk.words, JOB, loading(message.job))
        try:
            self._take_on(message)
        finally:
            native.store(self._desk.words, JOB, -1)

    def _take_on(self, message: Load) -> None:
        at = message.sheet.offset
        sheet = memoryview(self._transport.memory(message.sheet.segment))[at : at + NBYTES + message.nbytes]
        ledger, terms = Ledger(sheet, self._lock), Terms.load(sheet[NBYTES:])
        if ledger.is_closed:  # it was over before this worker had time for it
            self._desk.dropped.append(message.job)
            return
        self._box.arm()
        call: Call | None = None
        try:
            call = self._loader.load(terms)
            if call.initializer is not None:
                native.store(self._desk.words, JOB, message.job)  # whoever ends the job must not wait for this
                call.initializer.function(*call.initializer.args)
                self._desk.speech.flush()  # there may be no item left for this worker to say it with
        except BaseException as error:
            self._failed.append((message.job, ledger))
            self._desk.speech.flush()
            self._transport.send(LoadFailed(message.job, failures.dump_error(error), call is not None))
            return
        self._has_worked = True
        self._tasks.append(Task(message.job, call, ledger, terms))

    def _drop_closed(self) -> None:
        """Forget the jobs that are over; the parent is told, as their memory is its to use again."""
        jobs = [task.job for task in self._tasks if task.ledger.is_closed]
        jobs += [job for job, ledger in self._failed if ledger.is_closed]
        if not jobs:
            return
        self._failed = [(job, ledger) for job, ledger in self._failed if job not in jobs]
        has_buffers = any(task.has_buffers for task in self._tasks if task.job in jobs)
        if self._tasks and self._tasks[0].job in jobs:
            self._used = 0.0  # the next one has its own turn
        self._tasks = deque(task for task in self._tasks if task.job not in jobs)
        if has_buffers:
            gc.collect()  # a function that came by value refers to itself, and its arrays may be large
        self._desk.dropped += jobs
