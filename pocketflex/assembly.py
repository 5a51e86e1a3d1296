"""The results of a batch put together: a list, or under ``output="array"`` one ndarray."""

from __future__ import annotations

from typing import Any

from .options import BatchOptions


class Assembly:
    """Takes results in runs, as they come; `finish` gives all of them."""

    def __init__(self, options: BatchOptions, label: str) -> None:
        self._is_array = options.output == "array"
        self._label = label
        self._list: list[Any] = []
        self._pieces: list[Any] = []  # ndarrays, each of a run of results

    def add(self, results: Any) -> None:
        """Take the results of neighbouring items: a list, or an ndarray with one row an item.

        Raises:
            TypeError: They are neither numbers nor arrays of one shape, and an array was asked for.
        """
        if not self._is_array:
            self._list += results
        elif len(results):
            self._pieces.append(self._stack(results))

    def finish(self) -> Any:
        """All results."""
        if not self._is_array:
            return self._list
        import numpy as np

        if not self._pieces:
            return np.empty(0)
        shapes = {piece.shape[1:] for piece in self._pieces}
        if len(shapes) > 1:
            raise TypeError(f"{self._refusal()}, not arrays of shapes {sorted(shapes)}")
        return np.concatenate(self._pieces) if len(self._pieces) > 1 else self._pieces[0]

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
