"""Digests of items and of what a function refers to, the same in every process.

Values of the data format are digested as their bytes. Everything else is taken apart as pickling would take it
apart (`__reduce_ex__`), and nothing is ever put together again: the name of its class, its arguments, its state.
So `hash` plays no part, nor does the order of a set, nor what is shared and what is not. Functions count by
their code (code.py), classes by their names.
"""

from __future__ import annotations

import copyreg
import functools
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from ..modules import loaded
from .values import Unheld, encode

NBYTES = 16  # of a digest: with a billion items two of them are alike with a chance of 1 to 10**20
NONE = bytes(NBYTES)  # of an item that has no digest


def digest_item(item: Any) -> bytes:
    """The digest of an item; `NONE` where it has none, as a lock or an open file.

    Only KeyboardInterrupt passes through, whatever the item's own code raises.
    """
    try:
        return digest(item)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return NONE


def digest(value: Any) -> bytes:
    """The digest of a value.

    Raises:
        Unheld: It cannot be taken apart, or is nested too deep.
    """
    return sha256(encode(value, _taken_apart)).digest()[:NBYTES]  # the fastest of hashlib where the CPU knows it


def _taken_apart(value: Any, depth: int) -> bytes:
    for kind, form in _FORMS.items():
        if isinstance(value, kind):
            return bytes(encode((kind.__name__, *form(value)), _taken_apart, depth))
    numpy = loaded("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        told = name_of(type(value)), value.dtype.str, value.shape, value.tolist()
        return bytes(encode(told, _taken_apart, depth))
    return bytes(encode(_reduced(value), _taken_apart, depth))


def _reduced(value: Any) -> Any:
    reducer: Any = copyreg.dispatch_table.get(type(value))
    try:
        reduced: Any = reducer(value) if reducer else value.__reduce_ex__(4)
    except Exception as error:
        raise Unheld(type(value).__qualname__) from error
    if isinstance(reduced, str):  # the name of something global
        return name_of(type(value)), reduced
    made, args, *more = reduced
    return name_of(type(value)), made, args, [_listed(part) for part in more]


def _listed(part: Any) -> Any:
    return list(part) if isinstance(part, Iterator) else part  # entries of a list or a dict come one by one


def name_of(value: Any) -> str:
    """Module and name of a class or function."""
    return f"{getattr(value, '__module__', None)}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def _form_of_function(function: FunctionType) -> tuple[Any, ...]:
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    return function.__code__, function.__defaults__, function.__kwdefaults__, cells


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a name that is not bound yet
        return False


def _form_of_code(code: CodeType) -> tuple[Any, ...]:
    """All of it that decides what it does; not its name, its file and its lines."""
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return sys.version_info[:2], code.co_code, code.co_consts, counts, names, code.co_exceptiontable


_FORMS: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    type: lambda kind: (name_of(kind),),
    ModuleType: lambda module: (module.__name__,),
    FunctionType: _form_of_function,
    BuiltinFunctionType: lambda function: (name_of(function), _owner(function)),
    MethodType: lambda method: (method.__func__, method.__self__),
    functools.partial: lambda partial: (partial.func, partial.args, partial.keywords),
    functools._lru_cache_wrapper: lambda cached: (cached.__wrapped__,),
    CodeType: _form_of_code,
}


def _owner(function: BuiltinFunctionType) -> Any:
    owner = function.__self__
    return None if isinstance(owner, ModuleType) else owner
