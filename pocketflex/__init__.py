"""pocketflex: flows of nodes under six execution models, on a fast process pool.

A node has three phases, ``prep -> exec -> post``; a flow joins nodes by the actions that `post`
names. One and the same flow runs under six models, chosen by one word:

    run, run_batch, run_parallel_batch                    in order, in order, on all cores
    run_async, run_async_batch, run_async_parallel_batch  the same without blocking the event loop

`parallel_map` and `parallel_imap` are the engine without flows.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .aio import run_async, run_async_batch, run_async_parallel_batch
    from .async_node import AsyncBatchNode, AsyncNode, AsyncParallelBatchNode
    from .batch_flow import AsyncBatchFlow, AsyncFlow, AsyncParallelBatchFlow, BatchFlow, ParallelBatchFlow
    from .batch_node import BatchNode, ParallelBatchNode
    from .errors import (
        BackendUnavailableError,
        ChunkError,
        FlowError,
        InitializerError,
        ItemTimeoutError,
        JournalError,
        OptionError,
        PayloadError,
        PocketflexError,
        RemoteError,
        UnknownActionError,
        WorkerDiedError,
    )
    from .flow import Flow, branch, linear, with_error_handling
    from .harvest import partial
    from .models import run, run_batch, run_parallel_batch
    from .node import BaseNode, Node
    from .options import BatchOptions, Journal
    from .outcome import Failure, Value
    from .parallel import parallel_imap, parallel_map, share, shutdown
    from .retry import Retry
    from .seeds import item_rng, item_seed

__version__ = "0.1.0"

__all__ = [
    "AsyncBatchFlow",
    "AsyncBatchNode",
    "AsyncFlow",
    "AsyncNode",
    "AsyncParallelBatchFlow",
    "AsyncParallelBatchNode",
    "BackendUnavailableError",
    "BaseNode",
    "BatchFlow",
    "BatchNode",
    "BatchOptions",
    "ChunkError",
    "Failure",
    "Flow",
    "FlowError",
    "InitializerError",
    "ItemTimeoutError",
    "Journal",
    "JournalError",
    "Node",
    "OptionError",
    "ParallelBatchFlow",
    "ParallelBatchNode",
    "PayloadError",
    "PocketflexError",
    "RemoteError",
    "Retry",
    "UnknownActionError",
    "Value",
    "WorkerDiedError",
    "branch",
    "item_rng",
    "item_seed",
    "linear",
    "parallel_imap",
    "parallel_map",
    "partial",
    "run",
    "run_async",
    "run_async_batch",
    "run_async_parallel_batch",
    "run_batch",
    "run_parallel_batch",
    "share",
    "shutdown",
    "with_error_handling",
]

# Where each name comes from. All are imported at their first use: the spawner of the worker processes
# imports this package too, and would wait 40 ms for flows that it never runs.
_HOMES = {
    "aio": ("run_async", "run_async_batch", "run_async_parallel_batch"),
    "async_node": ("AsyncBatchNode", "AsyncNode", "AsyncParallelBatchNode"),
    "batch_flow": ("AsyncBatchFlow", "AsyncFlow", "AsyncParallelBatchFlow", "BatchFlow", "ParallelBatchFlow"),
    "batch_node": ("BatchNode", "ParallelBatchNode"),
    "errors": tuple(name for name in __all__ if name.endswith("Error")),
    "flow": ("Flow", "branch", "linear", "with_error_handling"),
    "harvest": ("partial",),
    "models": ("run", "run_batch", "run_parallel_batch"),
    "node": ("BaseNode", "Node"),
    "options": ("BatchOptions", "Journal"),
    "outcome": ("Failure", "Value"),
    "parallel": ("parallel_imap", "parallel_map", "share", "shutdown"),
    "retry": ("Retry",),
    "seeds": ("item_rng", "item_seed"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f".{home}", __name__), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=import_module(__name__))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"import_module"})
