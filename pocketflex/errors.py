"""Every exception that pocketflex raises of its own.

    PocketflexError
    ├── FlowError               (ValueError)      a flow or node that cannot run as it is built
    ├── UnknownActionError      (LookupError)     post named an action that has no edge
    ├── OptionError             (ValueError)      an option that does not exist, or a wrong value of one
    ├── WorkerDiedError         (BrokenExecutor)  a worker process ended while it ran an item
    ├── InitializerError        (BrokenExecutor)  `initializer` raised an exception
    ├── ItemTimeoutError        (TimeoutError)    an item ran longer than `timeout`
    ├── ChunkError              (ValueError)      `exec_chunk` did not return one result for each item
    ├── PayloadError            (PicklingError)   something could not be carried to or from a worker
    ├── RemoteError             (RuntimeError)    stands in for an exception that cannot be carried
    ├── BackendUnavailableError (ImportError)     an optional package or the platform is missing
    ├── JournalError            (ValueError)      a journal that does not belong to this call, or cannot be used
    ├── TargetError             (LookupError)     the command line: a target names no flow
    └── StateFileError          (ValueError)      the command line: a file is not a shared state

An exception raised by a user's node is never wrapped: it arrives as itself. Each class is also the
builtin that a caller who does not know pocketflex would catch.
"""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from pickle import PicklingError


class PocketflexError(Exception):
    """The root of every exception that pocketflex raises of its own."""


class FlowError(PocketflexError, ValueError):
    """A flow or a node cannot run as it is built; the message names it and the remedy."""


class ChunkError(PocketflexError, ValueError):
    """`exec_chunk` did not return one result for each item; all items of the chunk fail with it."""


class UnknownActionError(PocketflexError, LookupError):
    """`post` named an action for which the node has no edge; the message lists the known ones."""


class OptionError(PocketflexError, ValueError):
    """An option does not exist or has a wrong value; the message names the option."""


class WorkerDiedError(PocketflexError, BrokenExecutor):
    """A worker process ended by a signal or an exit code while it ran an item."""


class InitializerError(PocketflexError, BrokenExecutor):
    """What `initializer` names has raised an exception, which is the `__cause__`; no item can run there."""


class ItemTimeoutError(PocketflexError, TimeoutError):
    """An item ran longer than the `timeout` option allows."""


class PayloadError(PocketflexError, PicklingError):
    """An argument, a callable or a result could not be carried between processes.

    The message says which of them and on which side.
    """


class RemoteError(PocketflexError, RuntimeError):
    """Stands in for an exception of a worker that cannot be carried to this process.

    Its message has the type name, the arguments and the traceback of the original.
    """


class BackendUnavailableError(PocketflexError, ImportError):
    """An optional package, or the platform, lacks what the call needs; the message has the remedy."""


class JournalError(PocketflexError, ValueError):
    """The file of `resume` belongs to other work, or cannot be used; the message says what differs and the remedy."""


class TargetError(PocketflexError, LookupError):
    """A target of the command line names no flow that can be run; the message says what is there instead.

    Where the target's own code raised an exception, that is the `__cause__`.
    """


class StateFileError(PocketflexError, ValueError):
    """A file cannot be read as a shared state, or not be written; the message says why."""
