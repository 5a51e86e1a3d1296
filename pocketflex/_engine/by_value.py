"""What travels by value, and how: the only importer of cloudpickle.

Functions and classes of ``__main__``, notebooks and closures travel by value; everything else by reference.
"""

from __future__ import annotations

import functools
import io
import marshal
import sys
import weakref
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle

from ..errors import PayloadError


class Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]  # cloudpickle has no types
    """cloudpickle 3.1.3, with four differences.

    Functions with a cache travel by value where others would. Code keeps the name of its file: a traceback from a
    worker shows the user's own lines. Classes are made with their slots. And a class that came by value from the
    parent goes back there as a reference: else the parent would overwrite its methods with copies from the worker.
    """

    gives_back = False

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, functools._lru_cache_wrapper) and not is_importable(value):
            return _cache_again, (value.__wrapped__, value.cache_parameters())
        if isinstance(value, CodeType):
            try:
                return marshal.loads, (marshal.dumps(value),)  # both ends are the same interpreter
            except ValueError:  # tools may have put anything among its constants
                return _reduce_code(value)
        if self.gives_back and isinstance(value, type):
            if value in _CLASS_IDS and value not in _born_here:
                return class_of_id, (_CLASS_IDS[value],)
            _born_here.add(value)
        reduced = super().reducer_override(value)
        if type(reduced) is tuple and reduced[0] is _make_class and _has_own_slots(value, reduced[1][2]):
            reduced[1][3]["__slots__"] = vars(value)["__slots__"]
        return reduced


# by id of the type, as a metaclass may redefine equality; False: by `reducer_override` of cloudpickle or `Pickler`
REDUCERS: dict[int, Any] = {
    **{id(kind): reduce for kind, reduce in cloudpickle.CloudPickler.dispatch_table.maps[0].items()},
    **dict.fromkeys(map(id, (FunctionType, CodeType, functools._lru_cache_wrapper)), False),
}
_reduce_code = cloudpickle.CloudPickler.dispatch_table[CodeType]
_make_class = cloudpickle.cloudpickle._make_skeleton_class  # cloudpickle numbers the classes that travel by value:
_CLASS_IDS: Any = cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS
_born_here: weakref.WeakSet[type] = weakref.WeakSet()  # classes that this worker has made or imported


def _has_own_slots(kind: type, bases: Iterable[Any]) -> bool:
    """Whether it has `__slots__`, and `typing.NamedTuple` is not to make them."""
    return "__slots__" in vars(kind) and all(getattr(base, "__name__", "") != "NamedTuple" for base in bases)


def class_of_id(number: str) -> type:
    """The class of this process that cloudpickle has sent under that number."""
    kind: type | None = cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(number)
    if kind is None:
        raise PayloadError("its class has gone from this process since it was sent to the worker")
    return kind


def is_by_value(module: str | None) -> bool:
    """Whether functions of a module, or of a package around it, are to travel by value."""
    named = cloudpickle.list_registry_pickle_by_value()
    while module and named:
        if module in named:
            return True
        module = module.rpartition(".")[0]
    return False


def is_importable(function: Any) -> bool:
    """Whether a function travels by name."""
    name = function.__module__
    if name == "__main__" or is_by_value(name):
        return False
    return getattr(sys.modules.get(name), function.__qualname__, None) is function


def _cache_again(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)  # with an empty cache: it is another process's


def ship_by_value(module: ModuleType) -> None:
    """Make the functions and classes of `module` travel by value, as those of ``__main__`` do.

    For modules that workers cannot import, such as a file that was loaded from its path.
    """
    cloudpickle.register_pickle_by_value(module)


def dump(value: Any, *, gives_back: bool = False) -> bytes:
    """Pickle one object; `gives_back`: in a worker, for the parent."""
    stream = io.BytesIO()
    pickler = Pickler(stream, protocol=5)
    pickler.gives_back = gives_back
    pickler.dump(value)
    return stream.getvalue()
