"""An open journal: its sections, one a batch, and the results in them.

    frame SECTION   what a batch was: label, params, the how-manieth of these, code, items
    frame VALUE     section, index, digest of the item; the result in the data format
    frame PICKLED   section, index, digest of the item; signature and pickle of the result

Sections are found by label, params and occurrence, so a flow with several batches, or one that visits a node
again, has one journal. What a section says of code and items must be true of the batch that asks for it.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from ..errors import JournalError
from .code import SEED, Parts
from .logfile import REMEDY, LogFile
from .reading import Malformed, decode
from .values import encode

SECTION, VALUE, PICKLED = 1, 2, 3
PLACE = Struct("<IQ16s")  # section, index, digest of the item
_PYTHON = ".".join(map(str, sys.version_info[:2]))
_SHOWN = 5  # parts of the code that are named
Key = tuple[str, bytes, int]  # label, digest of the params, occurrence


@dataclass(frozen=True, slots=True)
class Head:
    """What a batch is, for its section.

    Attributes:
        label: Names the work.
        params: Digest of the params that the node runs with.
        code: A digest of each part of the code.
        count: How many items, None where that is only known at the end.
        items: Digest of all of them, None where they are not all there.
    """

    label: str
    params: bytes
    code: Parts
    count: int | None = None
    items: bytes | None = None


class Found(NamedTuple):
    """A section.

    Attributes:
        number: Its own.
        offsets: Of its results, by index.
        before: What it says of its batch; None if it is new.
    """

    number: int
    offsets: dict[int, int]
    before: Head | None


class Book:
    """A journal that one call has open."""

    def __init__(self, path: str) -> None:
        """Open it and read what is in it.

        Raises:
            JournalError: It cannot be used.
        """
        self.log = LogFile(path)
        self._heads: dict[Key, tuple[int, Head, str]] = {}
        self._results: defaultdict[int, dict[int, int]] = defaultdict(dict)  # offsets by index, by section
        self._pickled: set[int] = set()  # sections with pickles
        self._next = 0
        self._begun: Counter[tuple[str, bytes]] = Counter()
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        for frame in self.log.frames(PLACE.size):
            if frame.kind == SECTION:
                self._read_section(self.log.read(frame.offset)[1])
            elif frame.kind in (VALUE, PICKLED) and len(frame.beginning) == PLACE.size:
                section, index, _ = PLACE.unpack(frame.beginning)
                self._results[section][index] = frame.offset
                self._next = max(self._next, section + 1)
                if frame.kind == PICKLED:
                    self._pickled.add(section)

    def _read_section(self, body: bytes) -> None:
        try:
            number, label, params, occurrence, code, count, items, python = decode(body)
            self._next = max(self._next, number + 1)
            head = Head(str(label), bytes(params), dict(code), count, items)
            self._heads[head.label, head.params, int(occurrence)] = number, head, str(python)
        except (Malformed, TypeError, ValueError) as error:
            raise JournalError(
                f"{self.log.path} is not a journal of this version of pocketflex: give another path"
            ) from error

    def open(self, head: Head, may_unpickle: bool) -> Found:
        """The next section with this label and these params.

        Raises:
            JournalError: The journal is of other work.
        """
        with self.log.lock:
            self._check_label(head.label)
            occurrence = self._begun[head.label, head.params]
            self._begun[head.label, head.params] += 1
            key = head.label, head.params, occurrence
            if key not in self._heads:
                return Found(self._add(key, head), {}, None)
            number, before, python = self._heads[key]
            self._check_same(before, head, python)
        if number in self._pickled and not may_unpickle:
            raise JournalError(
                f"{self.log.path} has pickled results of {head.label}: pass resume=pf.Journal(path, pickle=True)"
            )
        return Found(number, self._results[number], before)

    def _add(self, key: Key, head: Head) -> int:
        number, self._next = self._next, self._next + 1
        body = encode((number, *key, head.code, head.count, head.items, _PYTHON))
        self.log.append([(SECTION, [body])])
        return number

    def _check_label(self, label: str) -> None:
        """Refuse the first batch of a call if the journal knows no such work at all."""
        labels = {known for known, _, _ in self._heads}
        if labels and label not in labels and not self._begun:
            others = " and ".join(sorted(labels)[:_SHOWN])
            raise JournalError(
                f"{self.log.path} is the journal of {others}, not of {label}: each call needs one of its own, "
                "give another path"
            )

    def _check_same(self, before: Head, now: Head, python: str) -> None:
        said = f"{self.log.path}: "
        if python != _PYTHON:
            raise JournalError(f"{said}it was written under Python {python}, and this is {_PYTHON}: {REMEDY}")
        seeds = [head.code.get(SEED, b"None").decode(errors="replace") for head in (before, now)]
        if seeds[0] != seeds[1]:
            raise JournalError(f"{said}{now.label} had seed={seeds[0]} and has seed={seeds[1]} now: {REMEDY}")
        every = sorted(before.code.keys() | now.code.keys())
        names = [name for name in every if before.code.get(name) != now.code.get(name)]
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            which = ", ".join(names[:_SHOWN])
            raise JournalError(
                f"{said}the code of {now.label} has changed since ({which}{more}), or it is another call: {REMEDY}"
            )
        if None not in (before.count, now.count) and before.count != now.count:
            raise JournalError(f"{said}{now.label} had {before.count} items and has {now.count} now: {REMEDY}")

    def close(self) -> None:
        """Let go of the file, and of its lock."""
        self.log.close()
