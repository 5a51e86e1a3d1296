"""Random numbers of an item: the same in every model, on every executor, with any number of workers.

The numbers of an item follow from the option `seed` and its index alone, by numpy's recipe for streams
that are independent of each other:

    SeedSequence(seed, spawn_key=(index,))      the index-th child that SeedSequence(seed).spawn(n) gives

`item_rng` is a Generator on it. `item_seed`, and what `random.seed` and `numpy.random.seed` are given, are
its first 128 bits. So the numbers of one item can be had again without pocketflex.

The mixing is M. E. O'Neill's seed_seq_fe128 (https://www.pcg-random.org/posts/developing-a-seed_seq-alternative.html)
as numpy documents it for SeedSequence; it is written here as well because a worker that needs no numpy must
not import it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from .errors import OptionError
from .modules import loaded

if TYPE_CHECKING:
    import numpy as np

_POOL = 4  # words of 32 bits
_MASK = 0xFFFFFFFF
_INIT_A, _MULT_A = 0x43B0D7E5, 0x931E8875
_INIT_B, _MULT_B = 0x8B51F9DD, 0x58F38DED
_MIX_LEFT, _MIX_RIGHT = 0xCA01F9DD, 0x4973F715


class Draws:
    """The random numbers of one item."""

    def __init__(self, seed: int, index: int) -> None:
        self.seed = seed
        self.index = index
        self.words = mix(seed, index)
        self.rng: Any = None  # a Generator, made when it is first wanted

    @property
    def number(self) -> int:
        """Its seed, of 128 bits."""
        return sum(word << 32 * at for at, word in enumerate(self.words))

    def generator(self) -> Any:
        """Its Generator."""
        if self.rng is None:
            import numpy as np

            self.rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.index,)))
        return self.rng


_current: ContextVar[Draws | None] = ContextVar("pocketflex_draws", default=None)


def item_seed() -> int:
    """A seed for the item that runs, a whole number of 128 bits; it follows from `seed` and the item's index.

    Returns:
        The same number at each call within an item, and in each run.

    Raises:
        OptionError: No item runs here whose call has a `seed`.

    Example:
        >>> import pocketflex as pf
        >>> seeds = pf.parallel_map(lambda _: pf.item_seed(), range(3), seed=7)
        >>> seeds == pf.parallel_map(lambda _: pf.item_seed(), range(3), seed=7, executor="serial")
        True
    """
    return _draws("item_seed").number


def item_rng() -> np.random.Generator:
    """The random numbers of the item that runs: a numpy Generator that follows from `seed` and the item's index.

    Returns:
        The same Generator at each call within an item; each attempt at the item begins anew.

    Raises:
        OptionError: No item runs here whose call has a `seed`.

    Example:
        >>> import pocketflex as pf
        >>> pf.parallel_map(lambda _: int(pf.item_rng().integers(1000)), range(3), seed=7)
        [305, 681, 396]
    """
    generator: np.random.Generator = _draws("item_rng").generator()
    return generator


def _draws(name: str) -> Draws:
    if (draws := _current.get()) is None:
        raise OptionError(f"{name}() is for items of a call with the option seed=, and called while one runs")
    return draws


@contextmanager
def drawing(seed: int, index: int) -> Iterator[None]:
    """While an item runs: its numbers are those of this context, and the global generators as before afterwards."""
    outer = _current.set(Draws(seed, index))
    states = _states()
    try:
        yield
    finally:
        _current.reset(outer)
        for restore, state in states:
            restore(state)


def begin_draws(seed: int, index: int) -> None:
    """An attempt at an item begins: so do its numbers."""
    draws = Draws(seed, index)
    _current.set(draws)
    if not _is_main_thread():
        return
    import random  # 3 ms, for those who use it

    random.seed(draws.number)
    if loaded("numpy"):
        import numpy.random  # which numpy itself imports only when it is first wanted

        numpy.random.seed(draws.words)


def begin_own_draws(seed: int, index: int) -> None:
    """The same where items share a thread: the global generators, which they share too, are left alone."""
    _current.set(Draws(seed, index))


@contextmanager
def drawing_own(seed: int, index: int) -> Iterator[None]:
    """While an attempt at such an item runs, which begins now: its numbers are those of this context."""
    outer = _current.set(Draws(seed, index))
    try:
        yield
    finally:
        _current.reset(outer)


def _states() -> list[tuple[Callable[[Any], Any], Any]]:
    """The global generators as they are, and how to have them so again."""
    if not _is_main_thread():
        return []
    import random

    states: list[tuple[Callable[[Any], Any], Any]] = [(random.setstate, random.getstate())]
    if loaded("numpy"):
        import numpy.random

        states.append((numpy.random.set_state, numpy.random.get_state()))
    return states


def _is_main_thread() -> bool:
    """Whether the global generators are this thread's to seed: other threads would draw from them in between."""
    import threading

    return threading.current_thread() is threading.main_thread()


def mix(seed: int, index: int) -> list[int]:
    """The first four words of the state that ``SeedSequence(seed, spawn_key=(index,))`` generates."""
    entropy = _words(seed)
    entropy += [0] * (_POOL - len(entropy)) + _words(index)
    scale = _INIT_A

    def scramble(value: int) -> int:
        nonlocal scale
        value ^= scale
        scale = scale * _MULT_A & _MASK
        value = value * scale & _MASK
        return value ^ value >> 16

    pool = [scramble(word) for word in entropy[:_POOL]]
    for source in range(_POOL):
        for target in range(_POOL):
            if source != target:
                pool[target] = _join(pool[target], scramble(pool[source]))
    for word in entropy[_POOL:]:
        for target in range(_POOL):
            pool[target] = _join(pool[target], scramble(word))
    return _generate(pool)


def _join(left: int, right: int) -> int:
    joined = (_MIX_LEFT * left - _MIX_RIGHT * right) & _MASK
    return joined ^ joined >> 16


def _generate(pool: list[int]) -> list[int]:
    scale, state = _INIT_B, []
    for word in pool:
        word ^= scale
        scale = scale * _MULT_B & _MASK
        word = word * scale & _MASK
        state.append(word ^ word >> 16)
    return state


def _words(number: int) -> list[int]:
    """A whole number in words of 32 bits, the lowest first, one at least."""
    words = [number & _MASK]
    while number := number >> 32:
        words.append(number & _MASK)
    return words
