"""Objects to bytes and back: callables, items, results, exceptions. The only importer of cloudpickle.

Functions and classes of ``__main__``, notebooks and closures travel by value; everything else by
reference. Buffers (arrays) leave the pickle "out of band" (protocol 5, PEP 574), so that they can
be copied once into shared memory instead of twice through a pickle.

What is unpickled here comes from descriptors that this process has inherited or created, never
from a file or a network.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
from collections.abc import Callable
from contextvars import ContextVar
from types import ModuleType
from typing import Any, NamedTuple

import cloudpickle

from ..errors import PayloadError, RemoteError
from ..outcome import Kind, RemoteTraceback, render_traceback

Pickled = tuple[bytes, list[memoryview]]  # a pickle and its out-of-band buffers

_IN_BAND = 4096  # bytes; a smaller buffer is cheaper inside its pickle than as a view of its own


class ObjectPickler:
    """Pickles one object after another, each on its own, with one pickler (making one costs more).

    Classes that travel by value are the exception: their definition is larger than most objects, so
    each is pickled once for all objects, in `shared`, and the pickles refer to it by number.
    """

    def __init__(self) -> None:
        self._stream = io.BytesIO()
        self._buffers: list[memoryview] = []
        self._pickler = _SharingPickler(self._stream, self._keep)

    def dump(self, value: Any) -> Pickled:
        """Pickle `value`; returns the pickle and its out-of-band buffers.

        Raises:
            Exception: Whatever the value's own pickling code raises.
        """
        self._stream.seek(0)
        self._stream.truncate()
        self._buffers = []
        self._pickler.clear_memo()
        # CloudPickler.dump only rewrites RecursionError; its base does the work at half the cost
        pickle.Pickler.dump(self._pickler, value)
        return self._stream.getvalue(), self._buffers

    def shared(self) -> bytes:
        """What `load_shared` needs for the pickles made so far; empty if they need nothing."""
        return cloudpickle.dumps(list(self._pickler.classes)) if self._pickler.classes else b""

    def _keep(self, buffer: pickle.PickleBuffer) -> bool:
        return _set_aside(buffer, self._buffers)


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]  # cloudpickle has no types
    """cloudpickle, and functions with a cache where the module they are in is not to be imported."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, functools._lru_cache_wrapper) and not _is_importable(value):
            return _cache_again, (value.__wrapped__, value.cache_parameters())
        return super().reducer_override(value)


def _is_importable(function: Any) -> bool:
    name = function.__module__
    if name == "__main__" or name in cloudpickle.list_registry_pickle_by_value():
        return False
    return getattr(sys.modules.get(name), function.__qualname__, None) is function


def _cache_again(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)  # with an empty cache: it is another process's


class _SharingPickler(_Pickler):
    def __init__(self, stream: io.BytesIO, keep: Callable[[pickle.PickleBuffer], bool]) -> None:
        super().__init__(stream, protocol=5, buffer_callback=keep)
        self.classes: dict[type, int] = {}  # by value -> number

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, type):
            return super().reducer_override(value)
        if value not in self.classes:
            reduced = super().reducer_override(value)
            if reduced is NotImplemented:  # it travels by reference
                return reduced
            self.classes[value] = len(self.classes)
        return _shared_class, (self.classes[value],)


_classes: ContextVar[list[type]] = ContextVar("pocketflex_classes")


def _shared_class(number: int) -> type:
    return _classes.get()[number]


def load_shared(data: Any) -> list[type]:
    """The classes that pickles refer to, from `ObjectPickler.shared`."""
    classes: list[type] = pickle.loads(data) if len(data) else []
    return classes


def load(data: Any, buffers: Any = (), classes: list[type] | None = None) -> Any:
    """The object that `ObjectPickler.dump` was given."""
    if not classes:
        return pickle.loads(data, buffers=buffers)
    token = _classes.set(classes)
    try:
        return pickle.loads(data, buffers=buffers)
    finally:
        _classes.reset(token)


def dump_callable(call: Any, label: str) -> Pickled:
    """Pickle what a job calls.

    Raises:
        PayloadError: It cannot be pickled; the message names the attribute that is to blame.
    """
    buffers: list[memoryview] = []
    stream = io.BytesIO()
    try:
        _Pickler(stream, protocol=5, buffer_callback=lambda buffer: _set_aside(buffer, buffers)).dump(call)
        return stream.getvalue(), buffers
    except Exception as error:
        raise PayloadError(
            f"{label}: its function cannot be sent to a worker process: {_blame(call)}{error} "
            f"({type(error).__name__}). Create such an object inside the function, or give the class "
            "__getstate__/__setstate__"
        ) from error


def _set_aside(buffer: pickle.PickleBuffer, buffers: list[memoryview]) -> bool:
    raw = buffer.raw()
    if raw.nbytes < _IN_BAND:
        return True
    buffers.append(raw)
    return False


def _blame(call: Any) -> str:
    owner = getattr(getattr(call, "function", call), "__self__", None)
    for name, value in getattr(owner, "__dict__", {}).items():
        try:
            cloudpickle.dumps(value)
        except Exception:
            return f"attribute {name!r} ({type(value).__name__}): "
    return ""


def ship_by_value(module: ModuleType) -> None:
    """Make the functions and classes of `module` travel by value, as those of ``__main__`` do.

    For modules that workers cannot import, such as a file that was loaded from its path.
    """
    cloudpickle.register_pickle_by_value(module)


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


def dump_error(error: BaseException) -> ErrorRecord:
    """Pickle an exception so that it is sure to load again.

    It is loaded here once for a trial. An exception whose class cannot be called with its own
    `args` is rebuilt without its `__init__`; one that cannot be carried at all is replaced by a
    RemoteError with its type name, arguments and traceback.
    """
    text = render_traceback(error)
    for candidate in (error, _Rebuilt(error), RemoteError(_describe(error, text))):
        try:
            data = cloudpickle.dumps(candidate)
            trial = pickle.loads(data)
        except BaseException:  # the pickling code of a user's exception may raise anything
            continue
        if type(trial) is type(error) or isinstance(trial, RemoteError):
            return ErrorRecord(data, text)
    raise AssertionError("a RemoteError of plain text can always be pickled")


def load_error(record: ErrorRecord) -> BaseException:
    """The exception of `dump_error`, with the remote traceback as its cause."""
    error: BaseException = load(record.pickle)
    error.__cause__ = RemoteTraceback(record.traceback)
    return error


class _Rebuilt:
    """Pickles an exception as class, args and attributes, leaving its `__init__` out."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self._error), self._error.args, dict(self._error.__dict__))


def _rebuild(kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


def _describe(error: BaseException, text: str) -> str:
    try:
        arguments = repr(error.args)
    except Exception as failure:
        arguments = f"(arguments without a repr: {type(failure).__name__})"
    return f"{type(error).__name__}{arguments} cannot be carried between processes; it was raised here:\n{text}"
