"""The peers without processes: the loop, `map()`, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..loads.load import Function, Items, Kind, Load, Results, Task
from ..messages import Form
from .peer import WORKERS, Peer, Style, cut, join, map_chunk


class Serial(Peer):
    """The list comprehension that everything is measured against."""

    def styles(self, kind: Kind) -> dict[str, Style]:
        """One."""
        return {"loop": lambda task, size: map_chunk(task.function, task.items)}

    def forms(self, load: Load) -> list[Form]:
        """A loop has no size."""
        return [Form("loop")]


class BuiltinMap(Peer):
    """``list(map(function, items))``."""

    def styles(self, kind: Kind) -> dict[str, Style]:
        """One."""
        return {"map": lambda task, size: list(map(task.function, task.items))}

    def forms(self, load: Load) -> list[Form]:
        """`map` has no size."""
        return [Form("map")]


class Threads(Peer):
    """A ThreadPoolExecutor fed with chunks; for arrays also by hand, a block of rows in one call of numpy."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(WORKERS)

    def close(self) -> None:
        """End the threads."""
        self._executor.shutdown()

    def styles(self, kind: Kind) -> dict[str, Style]:
        """Chunks, and blocks."""
        return {"chunks": self._map_chunks, "blocks": self._map_blocks}

    def forms(self, load: Load) -> list[Form]:
        """Blocks only where there is a function of blocks; small ones stay in the cache."""
        blocks = [Form("blocks", size) for size in (64, 1_024)] if load.block else []
        return [Form("chunks", size) for size in load.sizes] + blocks

    def one(self, function: Function, item: Any) -> Any:
        """A future."""
        return self._executor.submit(function, item).result()

    def _map_chunks(self, task: Task, size: int) -> Results:
        return self._join(lambda chunk: map_chunk(task.function, chunk), task.items, size)

    def _map_blocks(self, task: Task, size: int) -> Results:
        assert task.block is not None
        return self._join(task.block, task.items, size)

    def _join(self, function: Function, items: Items, size: int) -> list[Any]:
        return join(self._executor.map(function, cut(items, size)))
