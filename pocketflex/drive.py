"""The sync driver: performs the commands of a walk in this process and, for batches, through an executor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from .batch import Batch
from .call import Call
from .errors import FlowError
from .executors.base import Job
from .journal.shelf import Place, Shelf
from .observe.report import Report
from .options import BatchOptions
from .outcome import Failure, Outcome, Value
from .retry import begin_attempt, current_attempt
from .walk import Attempt, Command, ForEach, Phase, Runs, State, Walk, label_of


class Spread(Enum):
    """Which batches a model runs side by side, in workers or as concurrent tasks."""

    AS_NODE = "those of the Parallel classes"
    NEVER = "none"
    ALWAYS = "all"


SPREADS = {
    "run": Spread.AS_NODE,
    "batch": Spread.NEVER,
    "parallel-batch": Spread.ALWAYS,
    "async": Spread.AS_NODE,
    "async-batch": Spread.NEVER,
    "async-parallel-batch": Spread.ALWAYS,
}


@dataclass(frozen=True, slots=True)
class Setting:
    """How a call drives its walk.

    Attributes:
        spread: Which batches run side by side.
        given: The options of the call.
        report: Gets a record of each batch.
        shelf: Has the journals that the call keeps open; closed at its end.
    """

    spread: Spread = Spread.AS_NODE
    given: Mapping[str, Any] = field(default_factory=dict)
    report: Report = field(default_factory=Report)
    shelf: Shelf = field(default_factory=Shelf)

    def is_spread(self, command: ForEach | Runs) -> bool:
        """Whether the items of a batch run side by side."""
        return self.spread is Spread.ALWAYS or (self.spread is Spread.AS_NODE and command.node._parallel)

    def batch(self, command: ForEach | Runs) -> Batch:
        """Begin the batch of a sync node."""
        node, is_spread = command.node, self.is_spread(command)
        if is_spread:
            node = node._detached()  # what follows in the flow is not for a worker to carry
        options = BatchOptions.resolve(self.given, node)  # an initializer may be a method, of that same node
        if not is_spread:
            options = replace(options, executor="serial")
        call = Call(FlowRun(node, command.state)) if isinstance(command, Runs) else node._call()
        if options.retry is not None and not isinstance(command, Runs):
            call = replace(call, retry=options.retry)
        return Batch(Job(call, command.items, label_of(node)), options, self.report, self.place(command))

    def place(self, command: ForEach | Runs) -> Place:
        """What a journal of the batch is to know besides."""
        run = (command.node, command.state.shared) if isinstance(command, Runs) else None
        return Place(self.shelf, command.node.params, run)


def drive(walk: Walk, setting: Setting) -> Outcome:
    """Perform the commands of `walk` until it ends; KeyboardInterrupt alone passes through."""
    outer = current_attempt()  # a node's exec may run a flow: its own count must survive that
    try:
        command = next(walk)
        while True:
            command = walk.send(_perform(command, setting))
    except StopIteration as end:  # the walk's own: what a node raises is an outcome
        outcome: Outcome = end.value
        return outcome
    finally:
        walk.close()
        begin_attempt(outer)


def _perform(command: Command, setting: Setting) -> Outcome:
    if command.node._awaited:
        raise FlowError(f"{label_of(command.node)} is async: run the flow with an async model, such as run_async")
    match command:
        case Phase(_, function, args):
            return capture(function, *args)
        case Attempt(node, item):
            outcome: Outcome = node._call().run(0, item)
            return outcome
        case ForEach() | Runs():
            return capture(lambda: setting.batch(command).results())


def capture(function: Callable[..., Any], *args: Any) -> Outcome:
    """Call `function`; what it returns or raises is an outcome, KeyboardInterrupt alone passes through."""
    try:
        return Value(function(*args))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Failure(0, error)


def unwrap(outcome: Outcome) -> Any:
    """The result of `outcome`, or its exception, raised."""
    if isinstance(outcome, Value):
        return outcome.result
    try:
        raise outcome.error
    finally:
        del outcome  # the traceback refers to this frame, and must not keep itself alive


@dataclass(frozen=True, slots=True)
class FlowRun:
    """One run of a parallel batch flow: what a worker calls with each params dict."""

    flow: Any  # a ParallelBatchFlow
    state: State

    def __call__(self, params: Any) -> Any:
        """Run the flow with a copy of `shared`; the result is that of the last node visited."""
        # the runs are what the caller's bar counts, and what its journal keeps
        given = {**self.state.given, "progress": False, "resume": None}
        if given.get("initializer") is not None:
            given |= {"initializer": None, "initargs": ()}  # it has been called here, for the runs
        if given.get("seed") is not None:
            from .seeds import item_seed  # late: nobody else needs it

            given["seed"] = item_seed()  # or the items of all runs had the same numbers
        state = replace(self.state, shared=dict(self.state.shared), given=given)
        return unwrap(drive(self.flow._once(params, state), Setting(Spread.NEVER, given)))
