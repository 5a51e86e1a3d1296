"""The ledger in Python; part of the `twin`.

The memory is the native core's, but Python has no atomic instruction: each operation holds a record lock
(`fcntl.lockf`) of a descriptor that all processes share. The kernel drops it when its holder dies, at any
instruction. It keeps processes apart, not threads: only one thread of a process may be at a ledger. Should a
signal's exception come just before an unlock, the others wait until this process's next operation.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .twin_words import between, int64, open_words, signed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LEDGER_WORDS = 4616
_OPEN, _CLOSED, _PUBLISHED, _CLAIMED, _TOTAL, _WORKERS = range(6)
_ENTRIES, _OWNERS, _POSITIONS, _GRAINS = 8, 520, 64, 64
_NUMBER, _COUNT, _GRAIN = 0, 2, 3  # of an entry
_SLOTS, _FREE = 1023, 0xFFFF


@contextmanager
def _locked(ledger: WriteableBuffer, lock: int) -> Iterator[memoryview]:
    with open_words(ledger, LEDGER_WORDS) as words:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX, 1)
            yield words
        finally:
            fcntl.lockf(lock, fcntl.LOCK_UN, 1)


class _Entry:
    """One entry and its grains, read while the lock is held."""

    def __init__(self, words: memoryview, position: int) -> None:
        at = _ENTRIES + 8 * position
        self.words = words
        self.position = position
        self.number: int = words[at + _NUMBER]
        self.count: int = words[at + _COUNT]
        self.grain: int = words[at + _GRAIN]
        is_sound = self.count > 0 and self.grain > 0
        self.grains = min(-(-self.count // self.grain), _GRAINS) if is_sound else 0

    def owner(self, slot: int) -> int:
        return signed(self.number << 16 | slot)

    def is_owned(self, grain: int, slot: int) -> bool:
        return grain < self.grains and bool(self.words[self._owner_at(grain)] == self.owner(slot))

    def give(self, grain: int, slot: int) -> None:
        self.words[self._owner_at(grain)] = self.owner(slot)

    def first_free(self) -> int | None:
        owners = self.words[self._owner_at(0) : self._owner_at(self.grains)].tolist()
        free = self.owner(_FREE)
        return owners.index(free) if free in owners else None

    def items(self, first: int, stop: int) -> int:
        return min(self.count, self.grain * stop) - min(self.count, self.grain * first) if self.grains else 0

    def open(self) -> None:
        self.words[_OPEN] = signed(self.words[_OPEN] | 1 << self.position)

    def close(self) -> None:
        self.words[_OPEN] = signed(self.words[_OPEN] & ~(1 << self.position))

    def _owner_at(self, grain: int) -> int:
        return _OWNERS + _GRAINS * self.position + grain


def _add(words: memoryview, word: int, value: int) -> None:
    words[word] = signed(words[word] + value)


def publish(ledger: WriteableBuffer, position: int, lock: int, /) -> None:
    """Open the entry whose words have been written.

    Raises:
        ValueError: It does not have 1 to 64 grains.
    """
    position = between("position", position, 0, _POSITIONS - 1)
    with _locked(ledger, lock) as words:
        entry = _Entry(words, position)
        if not entry.grains or entry.grain * entry.grains < entry.count:
            raise ValueError(f"the entry at {position} does not have 1 to {_GRAINS} grains")
        for grain in range(entry.grains):
            entry.give(grain, _FREE)
        _add(words, _PUBLISHED, entry.count)
        entry.open()


def claim(ledger: WriteableBuffer, slot: int, want: int, lock: int, /) -> tuple[int, int, int] | None:
    """Claim grains of about that many items: (position, first grain, grains), or None."""
    slot, want = between("slot", slot, 0, _SLOTS - 1), int64(want)
    with _locked(ledger, lock) as words:
        while not words[_CLOSED] and (places := _open(words)):  # read once: the parent clears it without the lock
            entry = min((_Entry(words, position) for position in places), key=lambda entry: entry.number)
            first = entry.first_free()
            if first is not None:
                return entry.position, first, _take(entry, slot, want, first)
            entry.close()
    return None


def _open(words: memoryview) -> list[int]:
    return [position for position in range(_POSITIONS) if words[_OPEN] >> position & 1]


def _take(entry: _Entry, slot: int, want: int, first: int) -> int:
    most, stop = max(1, _fair(entry.words, want) // entry.grain), first
    while stop - first < most and entry.is_owned(stop, _FREE):
        entry.give(stop, slot)
        stop += 1
    _add(entry.words, _CLAIMED, entry.items(first, stop))
    if entry.first_free() is None:
        entry.close()
    return stop - first


def _fair(words: memoryview, want: int) -> int:
    """At most half of an even share of what is left, so that all workers end at about the same time."""
    if words[_TOTAL] < 0:
        return want
    left: int = words[_TOTAL] - words[_CLAIMED]
    return min(want, left // 2 // max(1, words[_WORKERS]))


def hand_back(ledger: WriteableBuffer, position: int, first_grain: int, grains: int, slot: int, lock: int, /) -> None:
    """Free those of the grains that the slot owns."""
    position = between("position", position, 0, _POSITIONS - 1)
    first = between("first_grain", first_grain, 0, _GRAINS)
    stop = first + between("grains", grains, 0, _GRAINS - first)
    slot = between("slot", slot, 0, _SLOTS - 1)
    with _locked(ledger, lock) as words:
        entry = _Entry(words, position)
        for grain in range(first, stop):
            if entry.is_owned(grain, slot):
                entry.give(grain, _FREE)
                _add(words, _CLAIMED, -entry.items(grain, grain + 1))
        entry.open()


def owned(ledger: WriteableBuffer, slot: int, /) -> list[tuple[int, int]]:
    """Every (position, grain) that the slot owns."""
    between("slot", slot, 0, _SLOTS - 1)
    with open_words(ledger, LEDGER_WORDS) as words:
        entries = [_Entry(words, position) for position in range(_POSITIONS)]
        return [(e.position, grain) for e in entries for grain in range(e.grains) if e.is_owned(grain, slot)]
