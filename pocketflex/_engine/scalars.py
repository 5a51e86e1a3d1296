"""Values that are simple though they are not Python's own scalars: numbers of numpy, objects that are their attributes.

Where they come in numbers they are no reason for as many pickles.
"""

from __future__ import annotations

import copyreg
from types import GetSetDescriptorType
from typing import Any

from ..modules import loaded

_NUMBERS = "?bhilqBHILQefdFD"  # types of numbers that are nothing but their bytes, as numpy.dtype.char has them
_HOOKS = (
    "__new__", "__getnewargs__", "__getnewargs_ex__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__",
    "__getattribute__", "__getattr__", "__del__",
)  # fmt: skip


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


def scalar_types() -> tuple[type, ...]:
    """Types besides Python's own scalars whose values are as simple: nobody else's code runs when they are pickled."""
    numpy, datetime, decimal = map(loaded, ("numpy", "datetime", "decimal"))
    return (
        complex,
        *((numpy.dtype(character).type for character in _NUMBERS) if numpy else ()),
        *((datetime.date, datetime.timedelta) if datetime else ()),
        *((decimal.Decimal,) if decimal else ()),
    )


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
        and all(getattr(kind, name, None) is getattr(object, name, None) for name in _HOOKS)
        and not any(vars(base).get("__slots__") for base in kind.__mro__)
        and not any("__class__" in vars(base) or _has_odd_dict(base) for base in kind.__mro__[:-1])
    )
