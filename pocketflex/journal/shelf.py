"""The journals that one call has open. Nothing else of the package is imported before one is needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from ..options import Journal

if TYPE_CHECKING:
    from .book import Book


class Shelf:
    """Opens each journal once, however many batches of a call are kept in it."""

    def __init__(self) -> None:
        self._books: dict[str, Book] = {}
        self._lock = Lock()
        self.looked: dict[int, Any] = {}  # see `code.parts_of`

    def take(self, wanted: Any) -> Book:
        """The journal that the option `resume` says.

        Raises:
            JournalError: It cannot be used.
        """
        from .book import Book

        path = os.path.abspath(as_journal(wanted).path)
        with self._lock:
            if path not in self._books:
                self._books[path] = Book(path)
            return self._books[path]

    def close(self) -> None:
        """Let go of all files."""
        while self._books:
            self._books.popitem()[1].close()


def as_journal(wanted: Any) -> Journal:
    """The option `resume` in its long form."""
    return wanted if isinstance(wanted, Journal) else Journal(wanted)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in its call a batch is: what its journal must know beside the job.

    Attributes:
        shelf: The journals of the call.
        params: Those of the node.
        run: The flow and the shared state, where the items are the params of runs of a flow.
    """

    shelf: Shelf = field(default_factory=Shelf)
    params: Mapping[str, Any] = field(default_factory=dict)
    run: tuple[Any, Any] | None = None
