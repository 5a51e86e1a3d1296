"""The results of a batch put together: a list, or under ``output="array"`` one ndarray."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from .options import BatchOptions


class Assembly:
    """Takes results in runs, as they come; `finish` gives all of them.

    Attributes:
        target: Where results of a list may be put by index ahead of their turn, None where that cannot be.
    """

    def __init__(self, options: BatchOptions, label: str, length: int | None = None) -> None:
        """Get ready for `length` results; None: nobody knows how many."""
        self._is_array = options.output == "array"
        self._label = label
        self._length = length
        has_place = length is not None and options.ordered and options.on_error != "skip"
        self.target: list[Any] | None = [None] * (length or 0) if has_place and not self._is_array else None
        self._list: list[Any] = [] if self.target is None else self.target
        self._done = 0  # results taken
        self._rows: Any = None  # ndarray of all results, the first of which are there
        self._pieces: list[Any] = []  # ndarrays, each of a run of results, where they fit in no such

    def add(self, results: Any) -> None:
        """Take the results of neighbouring items: a list, an ndarray with one row an item, or what is in the target.

        Raises:
            TypeError: They are neither numbers nor arrays of one shape, and an array was asked for.
        """
        done, stop = self._done, self._done + len(results)
        if self._is_array:
            if len(results):
                self._add_rows(self._stack(results), done, stop)
        elif type(results) is not range:  # a range: they are in their place already
            self._list[done:stop] = results
        self._done = stop  # the last thing: who is interrupted before has not taken them

    def taken(self) -> Iterator[Any]:
        """The results so far, in the order in which they came."""
        if not self._is_array:
            return iter(self._list[: self._done])
        rows = [] if self._rows is None or self._pieces else [self._rows[: self._done]]
        return chain.from_iterable(rows + self._pieces)

    def finish(self) -> Any:
        """All results."""
        if not self._is_array:
            del self._list[self._done :]
            return self._list
        import numpy as np

        if not self._pieces:
            return np.empty(0) if self._rows is None else self._rows[: self._done]
        shapes = {piece.shape[1:] for piece in self._pieces}
        if len(shapes) > 1:
            raise TypeError(f"{self._refusal()}, not arrays of shapes {sorted(shapes)}")
        return np.concatenate(self._pieces) if len(self._pieces) > 1 else self._pieces[0]

    def _add_rows(self, rows: Any, done: int, stop: int) -> None:
        if self._length is None or self._pieces:
            self._pieces.append(rows.copy() if rows.base is not None else rows)
            return
        if self._rows is None:
            import numpy as np

            self._rows = np.empty((self._length, *rows.shape[1:]), rows.dtype)
        if (rows.dtype, rows.shape[1:]) == (self._rows.dtype, self._rows.shape[1:]):
            self._rows[done:stop] = rows
        else:  # of another type, which all are to have, or of another shape, which is told in the end
            self._pieces = [self._rows[:done], rows.copy()]

    def _stack(self, results: Any) -> Any:
        import numpy as np

        if isinstance(results, np.ndarray):
            return results
        try:
            piece = np.asarray(results)
        except ValueError as error:  # arrays of several shapes
            raise TypeError(f"{self._refusal()}: {error}") from None
        if piece.dtype.kind not in "biufcmMV":
            odd = next((result for result in results if np.asarray(result).dtype.kind not in "biufcmMV"), results[0])
            raise TypeError(f"{self._refusal()}, not {type(odd).__name__} ({odd!r:.60})")
        return piece

    def _refusal(self) -> str:
        return f"{self._label}: with output='array' the results must be numbers or arrays of one shape"
