"""`BatchOptions`: how a batch runs. One frozen record, filled from the call and from the node.

The call wins over the node, the node over the default. Every value is checked when the record is
made, which is before anything runs.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from .errors import OptionError
from .retry import Retry


@dataclass(frozen=True, slots=True)
class Journal:
    """The file that `resume` keeps results in, where its path alone is not all there is to say.

    Attributes:
        path: The file; it is made if it is not there.
        pickle: Keep what has no data format as a pickle, signed with a key of this user's. False
            computes such results again. Unpickling runs code, and the signature is what says whose.
    """

    path: str | os.PathLike[str]
    pickle: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | os.PathLike) or not isinstance(os.fspath(self.path), str) or not self.path:
            raise OptionError(f"resume={self.path!r}: it must be the path of a file, a str or a Path")
        if not isinstance(self.pickle, bool):
            raise OptionError(f"pickle={self.pickle!r}: it must be True or False")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How the items of a batch are run.

    Attributes:
        max_workers: Worker processes (or threads) at the most; None means one per CPU that this
            process may use.
        chunksize: Items that a worker takes at a time; None measures the items and decides.
        max_concurrency: Items of an async batch that are under way at the same time.
        on_error: `raise` the failure with the lowest index, `collect` failures in their places,
            or `skip` them.
        timeout: Seconds that one item may take, all its attempts included, the waits between them not; None means
            no limit. A worker that runs longer is killed. Where items run in this process they cannot be
            stopped: an item that took longer fails once it ends.
        ordered: Deliver results in input order (True) or as they come (False).
        progress: Show a progress bar that counts items; needs tqdm.
        executor: `processes`, `serial`, `threads`, or an object with an executor's `start` method.
        max_tasks_per_child: Items after which a worker process is replaced by a fresh one; None means never.
        memory_limit: Bytes of memory of their own that the worker processes of a call may have between them; None
            means no limit. One that has come to keep more than its part is replaced, and fewer items run at a
            time where they need more while they run.
        crash_retries: How often an item is tried again after it has ended its worker process.
        retry: How often an item is tried, after which exceptions, and how long to wait in between: a `Retry`. Given
            with a call it wins over what nodes say, `max_retries` and `wait` included; None leaves it to them.
        output: What the results come in: a `list`, or one ndarray (`array`) with a row for each item,
            where they are numbers or arrays of one shape. Numbers are then not made into Python
            objects one by one.
        isolate: True keeps whatever items do in worker processes. False lets this process run items too,
            which is faster where they are tiny; it then counts as one of `max_workers`, and an item that
            ends, blocks or changes its process ends, blocks or changes this one.
        seed: A whole number from which the random numbers of each item follow, with its index: those of
            `item_rng` and `item_seed`, and of `random` and `numpy.random` where items run in processes
            or in the main thread. They are the same with any number of workers, on any executor. None
            leaves them alone.
        initializer: Called once in every worker process before its first item of the batch, and where
            items run in this process once in it; None for nothing. What it raises ends the call.
        initargs: Its arguments, a tuple.
        resume: Path of a journal, or a `Journal`: every result is kept there, and the same call, after whatever
            has ended it, computes only what is missing.
    """

    max_workers: int | None = None
    chunksize: int | None = None
    max_concurrency: int = 256
    on_error: str = "raise"
    timeout: float | None = None
    ordered: bool = True
    progress: bool = False
    executor: Any = "processes"  # a name, or any object that satisfies executors.base.Executor
    max_tasks_per_child: int | None = None
    memory_limit: float | None = None
    crash_retries: int = 1
    retry: Retry | None = None
    output: str = "list"
    isolate: bool = True
    seed: int | None = None
    initializer: Callable[..., object] | None = None
    initargs: tuple[Any, ...] = ()
    resume: str | os.PathLike[str] | Journal | None = None

    def __post_init__(self) -> None:
        for name, least in _COUNTS.items():
            self._check_count(name, least)
        if self.on_error not in ("raise", "collect", "skip"):
            self._refuse("on_error", "one of 'raise', 'collect', 'skip'")
        if self.timeout is not None and not (_is_number(self.timeout) and 0 < self.timeout < _FOREVER):
            self._refuse("timeout", "a number of seconds above 0 (and below a billion), or None for no limit")
        if self.memory_limit is not None and not (
            _is_number(self.memory_limit) and 1 <= self.memory_limit < _ALL_BYTES
        ):
            self._refuse("memory_limit", "a number of bytes, as in memory_limit=4e9 for 4 GB, or None for no limit")
        for name in ("ordered", "progress", "isolate"):
            if not isinstance(getattr(self, name), bool):
                self._refuse(name, "True or False")
        if self.retry is not None and not isinstance(self.retry, Retry):
            self._refuse("retry", "a Retry, as in retry=pf.Retry(3, wait=0.5), or None")
        if self.output not in ("list", "array"):
            self._refuse("output", "'list' or 'array'")
        if self.output == "array" and self.on_error == "collect":
            raise OptionError("output='array' has no place for a failure: use on_error='raise' or 'skip'")
        if not isinstance(self.executor, str) and not callable(getattr(self.executor, "start", None)):
            self._refuse("executor", "'processes', 'serial', 'threads' or an object with a `start` method")
        if self.resume is not None and not isinstance(self.resume, Journal):
            Journal(self.resume)
        self._check_initializer()

    @classmethod
    def resolve(cls, given: Mapping[str, Any], node: object | None = None) -> BatchOptions:
        """Join the options `given` with a call and those that `node` has as attributes.

        Raises:
            OptionError: An option does not exist, or has a wrong value; the message names it.
        """
        if node is None and "initializer" not in given and type(given.get("executor", "")) is str:
            return _resolve_call(given)
        check_names(given)
        values = {name: getattr(node, name) for name in OPTION_NAMES if hasattr(node, name)}
        if "initializer" in given:
            values.pop("initargs", None)  # they were for another function
        try:
            return cls(**{**values, **given})
        except OptionError as error:
            if node is not None and not isinstance(node, type):
                error.add_note(f"while reading the options of node {type(node).__name__}")
            raise

    def _check_count(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if value is None and name in _NONE_MEANS:
            return
        try:
            number = operator.index(value)  # of numpy too
        except TypeError:
            number = least - 1
        if isinstance(value, bool) or number < least:
            self._refuse(name, f"a whole number, at least {least}{_NONE_MEANS.get(name, '')}")
        object.__setattr__(self, name, number)

    def _check_initializer(self) -> None:
        if not isinstance(self.initargs, tuple):
            self._refuse("initargs", "a tuple, such as (1,)")
        if self.initializer is None:
            if self.initargs:
                self._refuse("initargs", "left away where there is no initializer")
            return
        code = getattr(self.initializer, "__code__", None)
        if not callable(self.initializer) or getattr(code, "co_flags", 0) & _COROUTINE:
            self._refuse("initializer", "a function that is not async, or None")

    def _refuse(self, name: str, wanted: str) -> None:
        raise OptionError(f"{name}={getattr(self, name)!r}: it must be {wanted}")


def _resolve_call(given: Mapping[str, Any]) -> BatchOptions:
    try:
        return _known(**given)
    except TypeError:  # a name that does not exist, or a value that cannot be a key
        check_names(given)
        return BatchOptions(**given)


# a record is frozen, so calls with the same options can share it; typed: True is no number of workers
_known = lru_cache(64, typed=True)(BatchOptions)
_FOREVER = 1e9  # seconds, 30 years
_COROUTINE = 0x80  # CO_COROUTINE of inspect, which is not imported for it
_ALL_BYTES = 1 << 62  # more than any machine has
_COUNTS = {
    "max_workers": 1,
    "chunksize": 1,
    "max_concurrency": 1,
    "max_tasks_per_child": 1,
    "crash_retries": 0,
    "seed": 0,
}
_NONE_MEANS = {
    **dict.fromkeys(("max_workers", "chunksize"), ", or None to let pocketflex decide"),
    "max_tasks_per_child": ", or None for no limit",
    "seed": ", or None for random numbers that differ",
}
_OTHER_NAMES = {
    **dict.fromkeys(("processes", "n_jobs", "jobs", "workers", "num_workers"), "max_workers"),
    "retries": "retry",
}
OPTION_NAMES = tuple(field.name for field in fields(BatchOptions))


def check_names(given: Mapping[str, Any]) -> None:
    """Raise OptionError, with the nearest known name, if an option does not exist."""
    for name in given:
        if name not in OPTION_NAMES:
            import difflib  # 1 ms, and names are seldom wrong

            near = [_OTHER_NAMES[name]] if name in _OTHER_NAMES else difflib.get_close_matches(name, OPTION_NAMES, n=1)
            if name in ("max_retries", "wait"):
                raise OptionError(
                    f"{name!r} is no option of a call: it belongs to the node, as in MyNode({name}=3); "
                    "a call has retry=pf.Retry(attempts, wait)"
                )
            hint = f"did you mean {near[0]!r}?" if near else f"the options are {', '.join(OPTION_NAMES)}"
            raise OptionError(f"unknown option {name!r}: {hint}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
