"""Values that are simple though they are not Python's own: numbers of numpy, dates, named tuples, plain objects.

Where they come in numbers they are no reason for as many pickles.
"""

from __future__ import annotations

import copyreg
import sys
from collections.abc import Iterable
from functools import cache
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, NamedTuple

from ..modules import loaded
from .by_value import is_by_value

_NUMBERS = "?bhilqBHILQefdFD"  # types of numbers that are nothing but their bytes, as numpy.dtype.char has them
_HOOKS = (
    "__new__", "__getnewargs__", "__getnewargs_ex__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__",
    "__getattribute__", "__getattr__", "__del__",
)  # fmt: skip
_CONTAINER_HOOKS = ("__hash__", "__eq__", "__iter__", "__len__")
_IN_PYTHON = {"pathlib": ("PosixPath", "PurePosixPath"), "uuid": ("UUID",), "fractions": ("Fraction",)}  # made there
_ENUM_VALUES = {int, str, bytes, bool, type(None)}  # no float, as NaN is not found again


def number_type(values: list[Any]) -> str:
    """The character of the dtype of numpy's numbers, if all values are exactly of one such type; else empty."""
    first = type(values[0])
    if (numpy := loaded("numpy")) is None or not issubclass(first, numpy.number | numpy.bool_):
        return ""
    character: str = numpy.dtype(first).char
    is_plain = character in _NUMBERS and numpy.dtype(character).type is first  # no subclass
    return character if is_plain and set(map(type, values)) == {first} else ""


def pack_numbers(values: list[Any], character: str) -> Any:
    """Numbers of numpy, all of this type, as an ndarray of bytes."""
    import numpy as np

    return np.fromiter(values, character, len(values)).view(np.uint8)


class Kinds(NamedTuple):
    """Types besides Python's own scalars and containers that nobody's code runs for when values of them are pickled.

    Attributes:
        leaves: Nothing of them can be changed.
        dated: Dates and times, of which nothing can be changed if their zone is of one of `zones`.
        zones: Types of time zones.
        tuples: Named tuples.
        objects: An object is its `__dict__`.
        slotted: An object is its slots.
        top: As `objects`, but only for the values themselves and not for what is in them.
    """

    leaves: tuple[type, ...]
    dated: tuple[type, ...]
    zones: tuple[type, ...]
    tuples: tuple[type, ...] = ()
    objects: tuple[type, ...] = ()
    slotted: tuple[type, ...] = ()
    top: tuple[type, ...] = ()

    @classmethod
    def known(cls) -> Kinds:
        """Those of which Python's and numpy's code in C makes pickles, and objects of them again."""
        numpy, datetime, decimal = map(loaded, ("numpy", "datetime", "decimal"))
        leaves = (
            *((numpy.dtype(character).type for character in _NUMBERS) if numpy else ()),
            *((datetime.date, datetime.timedelta) if datetime else ()),
            *((decimal.Decimal,) if decimal else ()),
        )
        dated = (datetime.datetime, datetime.time) if datetime else ()
        return cls((complex, *_unregistered(leaves)), _unregistered(dated), (datetime.timezone,) if datetime else ())

    def vouch(self, kind: type) -> Kinds | None:
        """These and one more; None where there may be code of somebody's behind it, or the other side may lack it."""
        if any(kind is leaf for leaf in _unregistered(_leaves_in_python())):
            return self._replace(leaves=(*self.leaves, kind))
        if not _unregistered([kind]) or not _is_there(kind):
            return None
        if _is_named_tuple(kind):
            return self._replace(tuples=(*self.tuples, kind))
        if _is_plain_enum(kind):
            return self._replace(leaves=(*self.leaves, kind))
        if has_plain_state(kind):
            return self._replace(objects=(*self.objects, kind))
        if _has_plain_slots(kind):
            return self._replace(slotted=(*self.slotted, kind))
        return None


def _unregistered(kinds: Iterable[type]) -> tuple[type, ...]:
    """Those for which nobody has registered code with `copyreg.pickle`."""
    registered = [*copyreg.dispatch_table]
    return tuple(kind for kind in kinds if not any(kind is one for one in registered))


def _leaves_in_python() -> list[type]:
    return [getattr(module, name) for name, names in _IN_PYTHON.items() if (module := loaded(name)) for name in names]


def _is_there(kind: type) -> bool:
    """Whether the other side can have a class: it travels by value, or its module is found on the path."""
    module = kind.__module__
    return type(module) is str and (module == "__main__" or is_by_value(module) or _is_found(module))


@cache
def _is_found(module: str) -> bool:
    from importlib.machinery import PathFinder  # late: a worker without such values does without

    package = sys.modules.get(module.rpartition(".")[0])
    return PathFinder.find_spec(module, getattr(package, "__path__", None)) is not None


def _is_named_tuple(kind: type) -> bool:
    made_by = getattr(kind.__new__, "__globals__", {}).get("__name__")
    state_by = getattr(getattr(kind, "__getnewargs__", None), "__module__", "")
    return (
        type(kind) is type
        and kind.__bases__ == (tuple,)
        and kind.__dictoffset__ == 0
        and (made_by, state_by) == (f"namedtuple_{kind.__name__}", "collections")  # as `collections` calls them
        and _has_all_of(tuple, kind, {*_HOOKS, *_CONTAINER_HOOKS} - {"__new__", "__getnewargs__"})
        and _has_own_class(kind)
    )


def _is_plain_enum(kind: type) -> bool:
    """Whether members are found again by values that are simple, with the code of `enum` alone."""
    enum = loaded("enum")
    if enum is None or type(kind) is not enum.EnumMeta:
        return False
    values = {type(member._value_) for member in vars(kind)["_member_map_"].values()}
    own = {name for base in kind.__mro__ if base.__module__ not in ("enum", "builtins") for name in vars(base)}
    hooks = {"_missing_", "__hash__", "__eq__", "__class__", *_HOOKS} - {"__new__", "__reduce_ex__"}
    is_found = kind.__reduce_ex__ is enum.Enum.__reduce_ex__ and not hooks & own
    return is_found and values <= _ENUM_VALUES


def _has_plain_slots(kind: type) -> bool:
    """As `has_plain_state`, of a class whose objects have slots and no `__dict__`."""
    if type(kind) is not type or kind.__dictoffset__ or not _has_own_class(kind):
        return False
    slots = [getattr(kind, name, None) for name in copyreg._slotnames(kind)]  # type: ignore[attr-defined]
    state = [getattr(getattr(kind, name, None), "__module__", "") for name in ("__getstate__", "__setstate__")]
    if state == ["dataclasses"] * 2:  # of those that are frozen
        is_simple = _has_all_of(object, kind, {*_HOOKS} - {"__getstate__", "__setstate__"})
    else:
        is_simple = _has_all_of(object, kind, (*_HOOKS, "__setattr__"))
    return is_simple and bool(slots) and all(type(slot) is MemberDescriptorType for slot in slots)


def _has_all_of(base: type, kind: type, names: Iterable[str]) -> bool:
    return all(getattr(kind, name, None) is getattr(base, name, None) for name in names)


def _has_own_class(kind: type) -> bool:
    """Whether `__class__` of an object is its class."""
    return not any("__class__" in vars(base) for base in kind.__mro__[:-1])


def read_numbers(data: memoryview, character: str) -> Any:
    """An ndarray of the numbers in these bytes.

    Raises:
        ValueError: There is no such type, or they are not of such numbers.
    """
    import numpy as np

    if len(character) != 1 or character not in _NUMBERS:
        raise ValueError(f"numpy has no numbers of type {character!r}")
    return np.frombuffer(data, character)


def _has_odd_dict(base: type) -> bool:
    return type(vars(base).get("__dict__")) not in (type(None), GetSetDescriptorType)


def has_plain_state(kind: type) -> bool:
    """Whether nobody's code but Python's runs while objects of a class are pickled, loaded or gone.

    That is so where an object is its `__dict__`, and its class has none of the methods that pickle asks for.
    """
    return (
        type(kind) is type
        and kind.__dictoffset__ != 0
        and kind not in copyreg.dispatch_table
        and _has_all_of(object, kind, _HOOKS)
        and not any(vars(base).get("__slots__") for base in kind.__mro__)
        and not any(_has_odd_dict(base) for base in kind.__mro__[:-1])
        and _has_own_class(kind)
    )
