"""The results of one batch in a journal."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from ..errors import JournalError
from ..outcome import describe
from .book import PICKLED, PLACE, VALUE, Book, Head
from .digests import NONE
from .logfile import REMEDY
from .reading import decode
from .signing import Signer
from .values import Unheld, encode_pieces

_log = logging.getLogger("pocketflex")
Frame = tuple[int, list[Any]]  # kind, pieces of the body
_ENOUGH = 4 << 20  # bytes that are written at a time


class Section:
    """Reads and adds results of one batch, by index; from any thread.

    Attributes:
        label: Names the work.
        resumed: How many results were read.
    """

    def __init__(self, book: Book, head: Head, is_pickling: bool) -> None:
        """Begin the batch in its journal.

        Raises:
            JournalError: The journal is of other work, or has what cannot be read.
        """
        self.label = head.label
        self.resumed = 0
        self._log = book.log
        self._signer = Signer(book.log.nonce) if is_pickling else None
        self._number, self._offsets, self._before = book.open(head, is_pickling)
        self._refused: set[str] = set()  # kinds of results that a warning has named

    @property
    def is_empty(self) -> bool:
        """Whether nothing is there to resume."""
        return not self._offsets

    def has(self, index: int, digest: bytes) -> bool:
        """Whether the result of an item is there.

        Raises:
            JournalError: The item at this index was another, or its result was signed by somebody else.
        """
        offset = self._offsets.get(index)
        if offset is None:
            return False
        _, body = self._log.read(offset)
        if body[: PLACE.size] != PLACE.pack(self._number, index, digest):
            raise JournalError(
                f"{self._log.path}: item {index} of {self.label} is not the one whose result was written: {REMEDY}"
            )
        return True

    def check_items(self, digest: bytes) -> None:
        """Raise JournalError if the digest of all items is another than it was."""
        if self._before is not None and self._before.items not in (None, digest):
            raise JournalError(
                f"{self._log.path}: among the items of {self.label} that are still to be computed there are others "
                f"than before: {REMEDY}"
            )

    def load(self, index: int) -> Any:
        """The result of an item that the journal `has`.

        Raises:
            JournalError: It cannot be read.
        """
        kind, body = self._log.read(self._offsets[index])
        place, data = body[: PLACE.size], body[PLACE.size :]
        self.resumed += 1
        try:
            if kind == VALUE:
                return decode(data)
            assert self._signer is not None  # or `Book.open` would have refused
            return self._signer.load(place, data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # unpickling may raise anything
            what = f"the result of item {index} of {self.label} cannot be read"
            raise JournalError(f"{self._log.path}: {what}: {describe(error)}; {REMEDY}") from error

    def put(self, results: Iterable[tuple[int, bytes, Any]]) -> None:
        """Add results: index, digest of the item, result. They survive this process once this returns.

        Raises:
            OSError: They cannot be written.
        """
        frames, nbytes = [], 0
        for index, digest, result in results:
            if digest == NONE:
                self._warn(f"items without a digest, such as item {index},")
            elif frame := self._frame(PLACE.pack(self._number, index, digest), result):
                frames.append(frame)
                nbytes += sum(map(len, frame[1]))
            if nbytes > _ENOUGH:
                self._append(frames)
                frames, nbytes = [], 0
        if frames:
            self._append(frames)

    def _append(self, frames: list[Frame]) -> None:
        with self._log.lock:
            self._log.append(frames)

    def _frame(self, place: bytes, result: Any) -> Frame | None:
        try:
            return VALUE, encode_pieces(result, place)
        except Unheld as unheld:
            if self._signer is None:
                remedy = "; resume=pf.Journal(path, pickle=True) keeps them"
                self._warn(f"results that are or hold a {unheld}", remedy)
                return None
        try:
            return PICKLED, [place, self._signer.dump(place, result)]
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._warn(f"results of type {type(result).__qualname__} ({describe(error)})")
            return None

    def _warn(self, what: str, remedy: str = "") -> None:
        kind = what.partition(", such as")[0]
        if kind not in self._refused:
            self._refused.add(kind)
            _log.warning("%s: %s are not in the journal and are computed again%s", self.label, what, remedy)

    @property
    def is_due(self) -> bool:
        """Whether it is time to `sync`."""
        return self._log.is_due

    def sync(self) -> None:
        """Wait until what was added is on the disk."""
        self._log.sync()
