"""Where the items of a batch run: one executor a module, found by name in a lazy table.

Looking an executor up imports its module, so an executor nobody uses costs nothing. Entries of the
entry-point group ``pocketflex.executors`` of installed packages are found by their names as well.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, cast

from ..errors import BackendUnavailableError, OptionError
from .base import Executor

_TABLE = {
    "processes": "pocketflex.executors.process:ProcessPool",
    "serial": "pocketflex.executors.serial:Serial",
    "threads": "pocketflex.executors.threads:Threads",
}


def find_executor(wanted: Any) -> Executor:
    """The executor with that name; an object that already is one is returned as it is.

    Raises:
        OptionError: No executor has that name.
        BackendUnavailableError: It cannot run on this platform.
    """
    if not isinstance(wanted, str):
        return cast(Executor, wanted)
    if wanted == "processes":
        return _processes()
    location = _TABLE.get(wanted) or _installed(wanted)
    if location is None:
        raise OptionError(f"executor={wanted!r}: it must be one of {', '.join(map(repr, _TABLE))}")
    return _factory(location)()


@cache
def _processes() -> Executor:
    """The one executor of worker processes; it has no state of its own."""
    if sys.platform != "linux":
        raise BackendUnavailableError(
            f"worker processes need Linux (this is {sys.platform}); pass executor='threads' or 'serial'"
        )
    from .._engine.home import prepare  # late, as it needs Linux

    prepare()  # before the import of all that it needs here: the other process imports the same meanwhile
    return _factory(_TABLE["processes"])()


@cache
def _factory(location: str) -> Callable[[], Executor]:
    module, _, name = location.partition(":")
    return cast("Callable[[], Executor]", getattr(import_module(module), name))


def _installed(name: str) -> str | None:
    from importlib.metadata import entry_points

    return next((entry.value for entry in entry_points(group="pocketflex.executors", name=name)), None)
