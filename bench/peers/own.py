"""pocketflex, which is not tuned: one form, and no chunk size."""

from __future__ import annotations

from typing import Any

import pocketflex as pf

from ..loads.load import Function, Kind, Load, Results, Task
from ..messages import Form
from .peer import WORKERS, LackingError, Peer, Style


class Pocketflex(Peer):
    """`pocketflex.parallel_map` with the options given.

    Args:
        options: Fields of `BatchOptions`; a version that does not know one of them raises LackingError.
    """

    def __init__(self, **options: Any) -> None:
        self._options: dict[str, Any] = {"max_workers": WORKERS, **options}

    def close(self) -> None:
        """End the workers."""
        pf.shutdown()

    def styles(self, kind: Kind) -> dict[str, Style]:
        """One."""
        return {"parallel_map": self._map}

    def forms(self, load: Load) -> list[Form]:
        """It sizes its chunks itself."""
        return [Form("parallel_map")]

    def one(self, function: Function, item: Any) -> Any:
        """`parallel_map` of a list of one."""
        return self._call(function, [item])[0]

    def _map(self, task: Task, size: int) -> Results:
        return self._call(task.function, task.items)

    def _call(self, function: Function, items: Any) -> Results:
        try:
            return pf.parallel_map(function, items, **self._options)
        except pf.OptionError as error:
            raise LackingError(str(error).partition(":")[0]) from error


def inside() -> Pocketflex:
    """The caller takes part in the work: an item can crash it."""
    return Pocketflex(isolate=False)


def in_array() -> Pocketflex:
    """Results in one ndarray instead of a list."""
    return Pocketflex(output="array")


def crowded() -> Pocketflex:
    """64 workers, however many CPUs there are."""
    return Pocketflex(max_workers=64)
