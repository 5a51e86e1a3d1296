"""A job's input, read as it is needed and readable again where an item must be sent once more."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import islice
from typing import Any

from .ranges import Span


class Source:
    """Items by index.

    A list, tuple, range or ndarray is sliced. Everything else is iterated over once, and its items
    are kept until they have an outcome. An exception that iterating raises ends the input there; it
    is kept in `error`, for the owner to raise once the items before it are delivered.
    """

    def __init__(self, items: Iterable[Any]) -> None:
        self.error: Exception | None = None
        self._sequence: Any = items if type(items) in (list, tuple, range) or is_array(items) else None
        self._iterator = iter(()) if self._sequence is not None else iter(items)
        self._kept: list[_Kept] = []

    @property
    def length(self) -> int | None:
        """Number of items, None if only the end will tell."""
        return None if self._sequence is None else len(self._sequence)

    def take(self, span: Span) -> Any:
        """The items of a span, fewer at the end of the input: a list, or an ndarray of rows."""
        if self._sequence is not None:
            part = self._sequence[span.start : span.stop]
            return part if is_array(part) and has_plain_rows(part) else list(part)
        for kept in self._kept:
            if kept.start <= span.start < kept.start + len(kept.items):
                return kept.items[span.start - kept.start : span.stop - kept.start]
        fresh = self._pull(span.stop - span.start)
        self._kept.append(_Kept(span.start, fresh))
        return fresh

    def drop(self, start: int, count: int) -> None:
        """So many items from `start` on have outcomes and need not be kept."""
        for kept in self._kept:
            if kept.start <= start < kept.start + len(kept.items):
                kept.open -= count
        self._kept = [kept for kept in self._kept if kept.open]

    def _pull(self, count: int) -> list[Any]:
        pulled: list[Any] = []
        try:
            pulled.extend(islice(self._iterator, count))  # keeps what came before an exception
        except Exception as error:
            self.error = error
        return pulled


class _Kept:
    def __init__(self, start: int, items: list[Any]) -> None:
        self.start = start
        self.items = items
        self.open = len(items)  # items without an outcome


def is_array(items: Any) -> bool:
    """Whether `items` is exactly an ndarray with rows; does not import numpy to find out."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(items) is numpy.ndarray and items.ndim > 0


def has_plain_rows(array: Any) -> bool:
    """Whether an ndarray's rows are nothing but their bytes."""
    return not array.dtype.hasobject and array.dtype.itemsize > 0
