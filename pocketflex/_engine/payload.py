"""Objects to bytes and back: callables, items, results; by_value.py says what of them travels by value.

Buffers (arrays) leave the pickle "out of band" (protocol 5, PEP 574), so that they can
be copied once into shared memory instead of twice through a pickle.

What is unpickled here comes from descriptors that this process has inherited or created, never
from a file or a network.
"""

from __future__ import annotations

import io
import pickle
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from types import BuiltinFunctionType, FunctionType
from typing import Any

from ..call import Call
from ..errors import PayloadError
from ..outcome import describe
from . import by_value
from .by_value import REDUCERS, Pickler, class_of_id, is_importable

Pickled = tuple[bytes, list[memoryview]]  # a pickle and its out-of-band buffers

_dump = pickle.Pickler.dump
_BY_NAME = (FunctionType, BuiltinFunctionType, type)
_IN_BAND = 4096  # bytes; a smaller buffer is cheaper inside its pickle than as a view of its own


class ObjectPickler:
    """Pickles one object after another, each on its own, with one pickler (making one costs more).

    Classes that travel by value are the exception: their definition is larger than most objects, so
    each is pickled once for all objects, in `shared`, and the pickles refer to it by number.
    """

    def __init__(self, stream: io.BytesIO | None = None, *, gives_back: bool = False) -> None:
        """Make a pickler, which uses `stream`; `gives_back`: in a worker, for the parent."""
        self._stream = stream or io.BytesIO()
        self._buffers: list[memoryview] = []
        self._aside = 0  # bytes of the buffers
        self._ends = array("q")
        self._pickler = _SharingPickler(self._stream, self._keep, gives_back)

    def dump(self, value: Any) -> Pickled:
        """Pickle `value`; returns the pickle and its out-of-band buffers.

        Raises:
            Exception: Whatever the value's own pickling code raises.
        """
        self.append(value)
        return self.take()[:2]

    def append(self, value: Any, tag: int = 0) -> int:
        """Pickle `value` behind what there is; returns how many bytes there are then.

        Raises:
            Exception: Whatever the value's own pickling code raises; nothing of it stays.
        """
        tell, buffers = self._stream.tell, self._buffers
        begin, count = tell(), len(buffers)
        self._pickler.clear_memo()
        try:
            # CloudPickler.dump only rewrites RecursionError; its base does the work at half the cost
            _dump(self._pickler, value)
        except BaseException:
            self._stream.seek(begin)
            self._stream.truncate()
            self._aside -= sum(buffer.nbytes for buffer in buffers[count:])
            del buffers[count:]
            raise
        end = tell()
        self._ends.extend((tag, end, len(buffers)))
        return end + self._aside

    def take(self) -> tuple[bytes, list[memoryview], array[int]]:
        """Everything since the last time: pickles one behind the other, buffers, and of each its tag and the ends.

        What was pickled last is let go of: this object and its pickler are a cycle, which lives until a collection.
        """
        self._pickler.clear_memo()
        taken = self._stream.getvalue(), self._buffers, self._ends
        self._stream.seek(0)
        self._stream.truncate()
        self._buffers, self._aside, self._ends = [], 0, array("q")
        return taken

    def shared(self) -> bytes:
        """What `SharedClasses` needs for the pickles made so far, asked for when all are; empty if it is nothing."""
        return pickle.dumps(self._pickler.classes) if self._pickler.classes else b""

    def _keep(self, buffer: pickle.PickleBuffer) -> bool:
        is_in_band = _set_aside(buffer, self._buffers)
        self._aside += 0 if is_in_band else self._buffers[-1].nbytes
        return is_in_band


class _SharingPickler(Pickler):
    """Asks Python as little as it can: each object that is pickled asks the table of reducers, and `reducer_override`.

    cloudpickle's table is a ChainMap, in Python; here it is part of the other, and the table is that of `copyreg`.
    """

    dispatch_table = pickle.Pickler.dispatch_table

    def __init__(self, stream: io.BytesIO, keep: Callable[[pickle.PickleBuffer], bool], gives_back: bool) -> None:
        super().__init__(stream, protocol=5, buffer_callback=keep)
        self.gives_back = gives_back
        self.classes: list[bytes] = []  # pickles of those that travel by value
        # what stands for classes and functions that objects refer to; by id, as a metaclass may redefine equality
        self._known: dict[int, tuple[Any, Any]] = {}

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        reduce = REDUCERS.get(id(kind))
        if reduce is None and not issubclass(kind, type):
            return NotImplemented
        if reduce:
            return reduce(value)
        if known := self._known.get(id(value)):
            return known[1]
        reduced = super().reducer_override(value)
        is_class = reduce is None
        if is_class and reduced is not NotImplemented and reduced[0] is not class_of_id:
            self.classes.append(by_value.dump(value, gives_back=self.gives_back))
            reduced = _shared_class, (len(self.classes) - 1,)
        if is_class or reduced is NotImplemented:  # a function by value may refer to something else at the next object
            self._known[id(value)] = value, reduced
        return reduced


class SharedClasses:
    """The classes that pickles refer to by number; each is loaded when the first object needs it."""

    def __init__(self, data: Any) -> None:
        """Read what `ObjectPickler.shared` gave."""
        self._pickles: list[bytes] = pickle.loads(data) if len(data) else []
        self._loaded: dict[int, type] = {}

    def __getitem__(self, number: int) -> type:
        if number not in self._loaded:
            self._loaded[number] = pickle.loads(self._pickles[number])
        return self._loaded[number]


_classes: ContextVar[SharedClasses] = ContextVar("pocketflex_classes")


def _shared_class(number: int) -> type:
    return _classes.get()[number]


def load(data: Any, buffers: Any = (), classes: SharedClasses | None = None) -> Any:
    """The object that `ObjectPickler.dump` was given."""
    if classes is None:
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
    if type(call) is Call and call.is_plain and type(call.function) in _BY_NAME and is_importable(call.function):
        return pickle.dumps(call, protocol=5), []  # what cloudpickle would write, in a tenth of the time
    buffers: list[memoryview] = []
    stream = io.BytesIO()
    try:
        Pickler(stream, protocol=5, buffer_callback=lambda buffer: _set_aside(buffer, buffers)).dump(call)
        return stream.getvalue(), buffers
    except Exception as error:
        what = "function or initializer" if getattr(call, "initializer", None) else "function"
        raise PayloadError(
            f"{label}: its {what} cannot be sent to a worker process: {_blame(call)}{describe(error)}. Create such "
            "an object inside the function, or give the class __getstate__/__setstate__"
        ) from error


def _set_aside(buffer: pickle.PickleBuffer, buffers: list[memoryview]) -> bool:
    if (raw := buffer.raw()).nbytes < _IN_BAND:
        return True
    buffers.append(raw)
    return False


def _blame(call: Any) -> str:
    """What a callable refers to that cannot be pickled, in words."""
    for what, name, value in _refers_to(getattr(call, "function", call)):
        try:
            by_value.dump(value)
        except Exception:
            return f"{what} {name!r} ({type(value).__name__}): "
    return ""


def _refers_to(function: Any) -> Iterator[tuple[str, str, Any]]:
    from inspect import getclosurevars  # late: 8 ms, which no worker is to wait for

    for name, value in getattr(getattr(function, "__self__", None), "__dict__", {}).items():
        yield "attribute", name, value
    if isinstance(function, FunctionType):
        with suppress(ValueError):  # a variable that has no value yet
            found = getclosurevars(function)
            for name, value in {**found.nonlocals, **found.globals}.items():
                yield "variable", name, value
