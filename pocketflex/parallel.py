"""The engine without flows: `parallel_map` and `parallel_imap`.

Nothing of the package is imported at the top: the first call starts a process before it does anything
else, imports included, and that process imports the same things at the same time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

if TYPE_CHECKING:
    from numpy.typing import NDArray

Item = TypeVar("Item")
Result = TypeVar("Result")


@overload
def parallel_map(
    function: Callable[[Item], Any], items: Iterable[Item], *, output: Literal["array"], **options: Any
) -> NDArray[Any]: ...
@overload
def parallel_map(function: Callable[[Item], Result], items: Iterable[Item], **options: Any) -> list[Result]: ...
def parallel_map(function: Callable[[Item], Any], items: Iterable[Item], **options: Any) -> Any:
    """Call `function` with each item in worker processes, and return the results in order.

    Like ``list(map(function, items))`` on all cores. Functions of ``__main__``, notebooks, lambdas
    and closures work, and no ``if __name__ == "__main__"`` guard is needed.

    Args:
        function: Called with one item at a time, in a worker process.
        items: Any iterable; a generator is read as it is needed; an ndarray's items are its rows.
        **options: Fields of `BatchOptions`.

    Returns:
        A list of one result an item, in input order; under ``output="array"`` an ndarray with a row for
        each. Under ``on_error="collect"`` a `Failure` in the place of each item that failed; under
        ``on_error="skip"`` only what succeeded.

    Raises:
        Exception: Under ``on_error="raise"`` what the failed item with the lowest index raised: the
            same object type, with a note that names the item, and the traceback of the worker as its
            cause.
        WorkerDiedError: That item ended its worker process.
        ItemTimeoutError: That item took longer than `timeout`.
        InitializerError: `initializer` raised an exception.
        PayloadError: The function, that item or its result cannot be carried between processes.
        OptionError: An option does not exist or has a wrong value.

    Example:
        >>> import pocketflex as pf
        >>> pf.parallel_map(lambda x: x * x, range(5))
        [0, 1, 4, 9, 16]
        >>> pf.parallel_map(lambda x: x * x, range(5), output="array")
        array([ 0,  1,  4,  9, 16])
    """
    _prepare(options)
    from .batch import mapping

    return mapping("parallel_map", function, items, options).results()


def parallel_imap(
    function: Callable[[Item], Result], items: Iterable[Item], **options: Any
) -> Generator[Result, None, None]:
    """Like `parallel_map`, but yield each result as soon as it and those before it are there.

    Input is read as results are consumed, so an endless generator works and memory is bounded. To
    stop early, leave the loop or close the generator: the items under way are then cancelled.

    Args:
        function: Called with one item at a time, in a worker process.
        items: Any iterable, of any length.
        **options: Fields of `BatchOptions`; ``ordered=False`` yields results in the order in which
            they are ready.

    Yields:
        Results, or failures, as `parallel_map` returns them.

    Raises:
        Exception: As `parallel_map`; wrong options and functions at the call, failed items when
            their turn comes. An item's StopIteration is the cause of a RuntimeError, as in any generator.

    Example:
        >>> import itertools
        >>> import pocketflex as pf
        >>> squares = pf.parallel_imap(lambda x: x * x, itertools.count())
        >>> [next(squares) for _ in range(4)]
        [0, 1, 4, 9]
        >>> squares.close()
    """
    _prepare(options)
    from .batch import mapping

    batch = mapping("parallel_imap", function, items, options, is_streamed=True)
    return (result for results in batch.stream() for result in results)


def share(array: Any) -> Any:
    """Put an array into shared memory, once: calls then take its rows from there without a copy.

    Args:
        array: An ndarray, or what `numpy.asarray` makes one of; its bytes are copied.

    Returns:
        An ndarray of the same dtype and shape, in C order. It is used like any other; as the items of a
        batch, itself or consecutive rows of it, its rows reach the workers as read-only views. Changes
        made here are seen by items that run later. Its memory goes with the last reference to it.

    Raises:
        TypeError: The dtype has objects.
        OSError: There is not enough memory.

    Example:
        >>> import numpy as np, pocketflex as pf
        >>> rows = pf.share(np.arange(6.0).reshape(3, 2))
        >>> pf.parallel_map(lambda row: float(row.sum()), rows)
        [1.0, 5.0, 9.0]
    """
    from ._engine.shared import share

    return share(array)


def shutdown() -> None:
    """End the warm worker processes of this process, now instead of at its end.

    The next parallel call starts new ones. Calls under way in other threads fail with
    `WorkerDiedError`.
    """
    from ._engine.home import shutdown

    shutdown()


def _prepare(options: dict[str, Any]) -> None:
    if sys.platform == "linux" and options.get("executor", "processes") == "processes":
        from ._engine.home import prepare

        prepare()
