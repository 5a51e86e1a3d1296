"""The code behind a batch, part by part, each with a digest: what has changed can then be named.

Seen are: the function, or the methods of the node's classes but `prep` and `post`; what is nested in them;
their constants, defaults and closures; the attributes of the node; and of the module that a function was written in
the functions, classes and data that it names, and those that these name. Not seen is what
comes from other modules, what is looked up by a text, and what has no digest.
"""

from __future__ import annotations

import dis
import functools
import re
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from ..call import Call
from ..flow import Flow, reachable
from ..modules import loaded
from ..node import BaseNode
from ..options import OPTION_NAMES, BatchOptions
from .digests import digest, name_of

Parts = dict[str, bytes]
Looked = dict[int, tuple[Any, bytes]]  # by id, with what the id is of
SEED = "the seed"  # of parts: not a digest, but the number itself, to be shown
_OWN = __name__.partition(".")[0]
_ENDS = {"prep", "post", "prep_async", "post_async"}  # they give items and take results: neither changes a result
_LINKS = {"successors", "error_successors", "start_node", "_connected", "params", "name"}
_TERMS = {"max_retries", "wait", *OPTION_NAMES} - {"seed", "initializer", "initargs"}  # not what items give
_NONE = BatchOptions()
_DATA = (type(None), bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset, re.Pattern)


def parts_of(call: Any, looked: Looked | None = None, options: BatchOptions = _NONE) -> Parts:
    """The parts of what a batch does with each item: a `Call`, or an `AsyncCall`.

    Args:
        call: What is done.
        options: Those of the batch; its seed, and what is called before the items, may change what these give.
        looked: Lists, dicts and sets that code of this call has been seen to name, with their digests then. What
            items have put into them since, such as into a cache, is no change of the code.
    """
    reader = _Reader(_ENDS, {} if looked is None else looked, options)
    for function in (call.function, call.fallback, call.chunk if isinstance(call, Call) else None):
        if function is not None:
            reader.add("the function", function)
    return reader.parts


def parts_of_flow(flow: Flow[Any], shared: Any, options: BatchOptions = _NONE) -> Parts:
    """The parts of one run of a flow with `shared`, all phases of its nodes included."""
    reader = _Reader(set(), {}, options)
    for number, node in enumerate(reachable(flow)):
        reader.add_object(f"node {number}, {type(node).__name__}", node)
        edges = {action: type(target).__name__ for action, target in node.successors.items()}
        reader.add_data(f"the edges of node {number}", edges)
    for key, value in shared.items() if isinstance(shared, dict) else ():
        reader.add_data(f"shared[{key!r:.60}]", value)
    return reader.parts


class _Reader:
    def __init__(self, left_out: set[str], looked: Looked, options: BatchOptions) -> None:
        self._looked = looked
        self.parts: Parts = {}
        self._left_out = left_out
        self._seen: dict[int, Any] = {}  # by id; kept alive, or the id could be that of something else
        self._set, self._held = _set_by(options.initializer)
        if options.seed is not None:
            self.parts[SEED] = str(options.seed).encode()
        if options.initializer is not None:
            self.add("the initializer", options.initializer)
            self.add_data("arguments of the initializer", options.initargs)

    def add(self, name: str, value: Any) -> None:
        """Add a callable, and what it refers to."""
        if id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if isinstance(value, functools.partial):
            self.add(name, value.func)
            self.add_data(f"arguments of {name}", (value.args, value.keywords))
        elif isinstance(value, MethodType):
            self.add(name, value.__func__)
            owner = value.__self__
            self.add_class(owner) if isinstance(owner, type) else self.add_object(type(owner).__name__, owner)
        elif isinstance(value, FunctionType):
            self._add_function(name, value)
        elif isinstance(value, type):
            self.add_data(name, value)
            self.add_class(value)
        elif hasattr(value, "__wrapped__"):  # functools' own sign of a function in a function
            self.add(name, value.__wrapped__)
        elif isinstance(value, BuiltinFunctionType):
            self.add_data(name, value)
        else:
            self.add_object(type(value).__name__, value)

    def _add_function(self, name: str, function: FunctionType) -> None:
        if _is_own(function.__module__):
            return
        shown = function.__qualname__.rpartition("<locals>.")[2]
        self.add_data(shown if shown != "<lambda>" else name, function.__code__)
        self._add_named(f"default of {shown}", function.__defaults__ or ())
        self._add_named(f"default of {shown}", (function.__kwdefaults__ or {}).values())
        for free, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                self._add_value(free, cell.cell_contents)
            except ValueError:  # a name that is not bound yet
                continue
        for free in _globals_of(function.__code__):
            if free in function.__globals__ and (id(function.__globals__), free) not in self._set:
                self._add_global(free, function.__globals__[free], function.__module__)

    def _add_named(self, name: str, values: Iterable[Any]) -> None:
        for number, value in enumerate(values):
            self._add_value(f"{name} ({number})", value)

    def _add_global(self, name: str, value: Any, module: str) -> None:
        if isinstance(value, FunctionType | BuiltinFunctionType | type) or hasattr(value, "__wrapped__"):
            if getattr(value, "__module__", None) == module:
                self.add(name, value)
            else:  # code of somebody else's: that it is this one and no other
                self.parts[name] = digest(name_of(value))
        elif type(value) in _DATA or _is_array(value):
            self._add_named_data(name, value)

    def _add_named_data(self, name: str, value: Any) -> None:
        """Add data that outlive the batch; of what can change, how they were when this call first saw them."""
        if id(value) in self._looked:
            self.parts[name] = self._looked[id(value)][1]
            return
        self.add_data(name, value)
        if type(value) in (list, dict, set) and name in self.parts:
            self._looked[id(value)] = value, self.parts[name]

    def _add_value(self, name: str, value: Any) -> None:
        if isinstance(value, FunctionType | MethodType | type | functools.partial):
            self.add(name, value)
        elif not isinstance(value, ModuleType):
            self.add_data(name, value)

    def add_class(self, kind: type) -> None:
        """Add the code and the data of a class and of its bases, as far as they are written in Python."""
        left_out = self._left_out | _LINKS | _TERMS if issubclass(kind, BaseNode) else set()
        for base in kind.__mro__:
            if not (_is_own(base.__module__) or base.__module__ in _NOT_SEEN):
                self._seen[id(base)] = base
                for name in vars(base).keys() - left_out:
                    self._add_member(f"{base.__name__}.{name}", name, vars(base)[name])

    def _add_member(self, shown: str, name: str, value: Any) -> None:
        for function in _functions_in(value):
            self.add(shown, function)
        if not (name.startswith("__") and name.endswith("__")) and (type(value) in _DATA or _is_array(value)):
            self._add_named_data(shown, value)

    def add_object(self, name: str, value: Any) -> None:
        """Add the class of an object, and its attributes."""
        self.add_class(type(value))
        if not hasattr(value, "__dict__"):
            self.add_data(name, value)
        for attribute, held in getattr(value, "__dict__", {}).items():
            is_term = isinstance(value, BaseNode) and attribute in _LINKS | _TERMS
            if not is_term and (type(value), attribute) not in self._held:
                self._add_value(f"{name}.{attribute}", held)

    def add_data(self, name: str, value: Any) -> None:
        """Add anything that has a digest."""
        try:
            self.parts[name] = digest(value)
        except KeyboardInterrupt:
            raise
        except BaseException:  # of what cannot be taken apart nothing is known, whatever it raises
            return


_NOT_SEEN = ("builtins", "typing", "abc", "collections.abc")


def _is_own(module: str | None) -> bool:
    """Whether code is pocketflex's: its examples are a user's in spirit."""
    return (module or "").partition(".")[0] == _OWN and not (module or "").startswith(f"{_OWN}.examples")


def _functions_in(value: Any) -> Iterator[Any]:
    if isinstance(value, FunctionType):
        yield value
    elif isinstance(value, staticmethod | classmethod | functools.partialmethod | functools.cached_property):
        yield value.func if isinstance(value, functools.partialmethod | functools.cached_property) else value.__func__
    elif isinstance(value, property):
        yield from (function for function in (value.fget, value.fset, value.fdel) if function is not None)
    elif hasattr(value, "__wrapped__"):
        yield value.__wrapped__


def _globals_of(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield step.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)


def _set_by(initializer: Any) -> tuple[set[tuple[int, str]], set[tuple[type, str]]]:
    """The globals and the attributes of its node that an initializer sets.

    In this process it has done so once it was called, which is no change of the code.
    """
    while isinstance(initializer, functools.partial):
        initializer = initializer.func
    function = getattr(initializer, "__func__", initializer)
    if not isinstance(function, FunctionType):
        return set(), set()
    steps = [*dis.get_instructions(function.__code__)]
    names = {step.argval for step in steps if step.opname == "STORE_GLOBAL"}
    attributes = {step.argval for step in steps if step.opname == "STORE_ATTR"}
    owner = type(getattr(initializer, "__self__", None))  # of a function that is no method: nobody's
    return {(id(function.__globals__), name) for name in names}, {(owner, name) for name in attributes}


def _is_array(value: Any) -> bool:
    numpy = loaded("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray | numpy.generic)
