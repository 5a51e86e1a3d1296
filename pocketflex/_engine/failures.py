"""Failures on their way to the parent: exceptions that are sure to load there, as themselves if they can."""

from __future__ import annotations

from types import FunctionType, WrapperDescriptorType
from typing import Any, NamedTuple

from ..errors import PayloadError, RemoteError
from ..outcome import Kind, RemoteTraceback, describe, render_traceback
from . import by_value, payload


class ErrorRecord(NamedTuple):
    """An exception on its way to the parent.

    Attributes:
        pickle: The exception, or what stands in for it.
        traceback: Its traceback as text.
    """

    pickle: bytes
    traceback: str


class FailureRecord(NamedTuple):
    """A failed item on its way to the parent: what `Failure` has, but its index."""

    error: ErrorRecord
    attempts: int
    kind: Kind


def record(error: BaseException, attempts: int = 1, kind: Kind = "exception") -> FailureRecord:
    """A failed item, with its exception pickled."""
    return FailureRecord(dump_error(error), attempts, kind)


def dump_error(error: BaseException) -> ErrorRecord:
    """Pickle an exception, in a worker, so that it is sure to load again in the parent.

    It is loaded here once for a trial. One that is changed or lost on the way is replaced by a
    RemoteError with its type name, arguments and traceback.
    """
    text = render_traceback(error)
    for candidate in (*_forms(error), RemoteError(_describe(error, text))):
        try:
            data = by_value.dump(candidate, gives_back=True)
            trial = payload.load(data)
            is_same = type(trial) is type(error) and str(trial) == str(error)
        except BaseException:  # the pickling code of a user's exception may raise anything
            continue
        if is_same or isinstance(trial, RemoteError):
            return ErrorRecord(data, text)
    raise AssertionError("a RemoteError of plain text can always be pickled")


def unreadable(index: int, error: BaseException) -> PayloadError:
    """What an item has failed with that cannot be unpickled in a worker."""
    failed = PayloadError(f"item {index} cannot be unpickled in the worker: {describe(error)}")
    failed.__cause__ = error
    return failed


def unsendable(index: int, kind: str, error: BaseException) -> PayloadError:
    """What an item has failed with whose result, of that kind, cannot be pickled in its worker."""
    failed = PayloadError(f"the result of item {index} ({kind}) cannot be sent from its worker: {describe(error)}")
    failed.__cause__ = error
    return failed


def load_error(record: ErrorRecord) -> BaseException:
    """The exception of `dump_error`, with the remote traceback as its cause."""
    try:
        error: BaseException = payload.load(record.pickle)
    except Exception as failure:
        error = RemoteError(f"an exception cannot be loaded here ({describe(failure)}); it was:\n{record.traceback}")
    error.__cause__ = RemoteTraceback(record.traceback)
    return error


def _forms(error: BaseException) -> tuple[Any, Any]:
    """The exception as it pickles itself, and without its `__init__`; first what fits its class.

    An exception pickles as a call of its class with its `args`. Where `__init__` is the user's own,
    that is seldom what it wants: ``__init__(self, code)`` that calls ``super().__init__(f"code {code}")``.
    """
    is_usual = isinstance(type(error).__reduce__, FunctionType) or not isinstance(type(error).__init__, FunctionType)
    return (error, _Rebuilt(error)) if is_usual else (_Rebuilt(error), error)


class _Rebuilt:
    """Pickles an exception as class, arguments and attributes, leaving the user's `__init__` out."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self._error), BaseException.__reduce__(self._error)[1], dict(self._error.__dict__))


def _rebuild(kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    error = kind.__new__(kind, *args)
    builtin: Any = next(base for base in kind.__mro__ if isinstance(vars(base).get("__init__"), WrapperDescriptorType))
    builtin.__init__(error, *args)  # sets what C code keeps outside of `args`, such as SystemExit.code
    error.args = args
    error.__dict__.update(attributes)
    return error


def _describe(error: BaseException, text: str) -> str:
    try:
        arguments = repr(error.args)
    except Exception as failure:
        arguments = f"(arguments without a repr: {type(failure).__name__})"
    return f"{type(error).__name__}{arguments} cannot be carried between processes; it was raised here:\n{text}"
