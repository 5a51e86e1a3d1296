"""The native core: native/README.md has the formats, pocketflex/_engine/native.py chooses between it and its twin."""

from collections.abc import Callable
from typing import Any

from _typeshed import ReadableBuffer, WriteableBuffer

LEDGER_WORDS: int

def load(buffer: WriteableBuffer, word: int, /) -> int: ...
def store(buffer: WriteableBuffer, word: int, value: int, /) -> None: ...
def fence() -> None: ...
def spin(buffer: WriteableBuffer, word: int, value: int, nanoseconds: int, /) -> bool: ...
def publish(ledger: WriteableBuffer, position: int, lock: int, /) -> None: ...
def claim(ledger: WriteableBuffer, slot: int, want: int, lock: int, /) -> tuple[int, int, int] | None: ...
def hand_back(
    ledger: WriteableBuffer, position: int, first_grain: int, grains: int, slot: int, lock: int, /
) -> None: ...
def owned(ledger: WriteableBuffer, slot: int, /) -> list[tuple[int, int]]: ...
def encode(
    items: list[Any], start: int, stop: int, buffer: WriteableBuffer, offset: int, /
) -> tuple[int, int]: ...  # a column's items may be of any type until they are looked at
def decode(
    kind: int, buffer: ReadableBuffer, offset: int, nbytes: int, count: int, items: list[Any], at: int, /
) -> None: ...
def call_each(
    function: Callable[[Any], Any],
    items: list[Any] | tuple[int, ReadableBuffer, int, int, int],
    at: int,
    stop: int,
    results: list[Any],
    slot: WriteableBuffer,
    index: int,
    until: int,
    room: WriteableBuffer | None,
    offset: int,
    state: WriteableBuffer,
    /,
) -> None: ...
