"""Single words of shared memory."""

from __future__ import annotations

import signal
import threading
from array import array
from mmap import mmap
from time import monotonic_ns
from typing import Any

import pytest

SECONDS = 10**9


def test_a_word_is_stored_and_loaded(core: Any, memory: mmap) -> None:
    for value in (0, 1, -1, 2**63 - 1, -(2**63)):
        core.store(memory, 3, value)
        assert core.load(memory, 3) == value
        assert memory[24:32] == array("q", [value]).tobytes()
    assert memory[:24] == memory[32:56] == bytes(24)


def test_any_contiguous_buffer_has_words(core: Any) -> None:
    for buffer in (
        bytearray(20),
        array("q", [0, 0]),
        memoryview(array("d", [0.0] * 4)),
        memoryview(array("q", [0] * 4))[1:3],
    ):
        core.store(buffer, 1, 7)
        assert core.load(buffer, 1) == 7
        with pytest.raises(ValueError, match="word"):
            core.load(buffer, memoryview(buffer).nbytes // 8)


@pytest.mark.parametrize("word", [-1, 1 << 14, 2**63 - 1, 2**70, -(2**63)])
def test_a_word_outside_is_refused(core: Any, memory: mmap, word: int) -> None:
    for call in (
        lambda: core.load(memory, word),
        lambda: core.store(memory, word, 1),
        lambda: core.spin(memory, word, 0, 0),
    ):
        with pytest.raises(ValueError):  # noqa: PT011
            call()


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 2**100])
def test_a_value_that_does_not_fit_is_refused(core: Any, memory: mmap, value: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        core.store(memory, 0, value)


def test_arguments_of_another_type_are_refused(core: Any, memory: mmap) -> None:
    for arguments in (("no buffer", 0), (memory, "0"), (memory, 0.0), (memory,), (memory, 0, 1)):
        with pytest.raises(TypeError):
            core.load(*arguments)
    with pytest.raises(BufferError):
        core.store(bytes(8), 0, 1)
    with pytest.raises(BufferError):
        core.load(memoryview(bytearray(32))[::2], 0)


def test_a_fence_returns(core: Any) -> None:
    assert core.fence() is None


def test_spinning_ends_at_once_when_the_word_differs(core: Any, memory: mmap) -> None:
    core.store(memory, 1, 5)
    assert core.spin(memory, 1, 4, 2**63 - 1) is True


@pytest.mark.parametrize("nanoseconds", [-(2**63), -1, 0, 1, 100_000, 12_000_000])
def test_spinning_ends_when_the_time_is_over(core: Any, memory: mmap, nanoseconds: int) -> None:
    begun = monotonic_ns()
    assert core.spin(memory, 1, 0, nanoseconds) is False
    assert monotonic_ns() - begun >= nanoseconds


def test_spinning_sees_what_another_thread_stores(core: Any, memory: mmap) -> None:
    thread = threading.Thread(target=core.store, args=(memory, 2, 1))
    thread.start()
    assert core.spin(memory, 2, 0, 60 * SECONDS) is True
    thread.join()


class Rung(Exception):
    pass


def ring(*_: object) -> None:
    raise Rung


def test_a_signal_ends_the_spinning(core: Any, memory: mmap) -> None:
    former = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(Rung):
            core.spin(memory, 0, 0, 60 * SECONDS)
    finally:
        signal.signal(signal.SIGALRM, former)
