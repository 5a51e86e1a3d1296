"""Finds the flow that a TARGET on the command line names.

    path/to/file.py          the only flow in that file
    path/to/file.py:name     a flow, a node, or a function without arguments that makes one
    package.module[:name]    the same in a module that can be imported

Loading a target runs its code, as importing it would; an ``if __name__ == "__main__"`` block in it
does not run.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from ._engine.by_value import ship_by_value
from .errors import TargetError
from .flow import Flow
from .node import BaseNode


def find_flow(target: str) -> Flow:
    """The flow that `target` names.

    Raises:
        TargetError: There is no such file, module or name, or it does not give a flow.
    """
    place, name = split_target(target)
    is_file = place.endswith(".py") or os.sep in place or "/" in place or not place.strip(".")
    try:
        module = load_file(Path(place)) if is_file else load_module(place)
        return named_flow(module, name, place) if name else only_flow(module, place)
    except TargetError:
        raise
    except (Exception, SystemExit) as error:  # the target's own code may raise anything
        raise TargetError(f"{place} cannot be loaded{_advice(error)}") from error


def split_target(target: str) -> tuple[str, str]:
    """The file or module of a target, and the name behind the colon or an empty string."""
    found = re.fullmatch(r"(.+):([^\W\d]\w*)", target)  # a Windows drive's colon is not followed by a bare name
    return (found[1], found[2]) if found else (target.removesuffix(":"), "")


def load_file(path: Path) -> ModuleType:
    """Run a file as a module; its neighbours can be imported by it, its functions travel by value."""
    if path.is_dir():
        raise TargetError(f"{path} is a folder: name a Python file in it, as in {path / 'work.py'}")
    if not path.is_file():
        raise TargetError(f"{path} {'is not a Python file' if path.exists() else 'does not exist'}{_near_file(path)}")
    path = path.resolve()
    name = _free_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TargetError(f"{path} is not a Python file: its name must end in .py")
    sys.path.insert(0, str(path.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    ship_by_value(module)
    return module


def load_module(name: str) -> ModuleType:
    """Import a module by its dotted name, from the current folder too, as ``python -m`` does."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there; something that it imports is not
        raise TargetError(f"there is no module {error.name!r} here: name a file as path/to/file.py") from None


def only_flow(module: ModuleType, place: str) -> Flow:
    """The one flow among the names of a module."""
    flows: dict[int, str] = {}
    for name, value in vars(module).items():
        if isinstance(value, Flow):
            flows.setdefault(id(value), name)
    if len(flows) == 1:
        flow: Flow = getattr(module, next(iter(flows.values())))
        return flow
    if flows:
        listed = ", ".join(f"{place}:{name}" for name in flows.values())
        raise TargetError(f"there are {len(flows)} flows in {place}; say which one: {listed}")
    raise TargetError(f"there is no flow in {place}. {_offers(module, place)}")


def named_flow(module: ModuleType, name: str, place: str) -> Flow:
    """The flow that a name of a module stands for: a flow, a node, or a function that makes one."""
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, _usable_names(module), n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else _offers(module, place)
        raise TargetError(f"there is no {name!r} in {place}. {hint}")
    value = getattr(module, name)
    if callable(value) and not isinstance(value, BaseNode) and not _is_node_class(value):
        value = value()
    if isinstance(value, type) and issubclass(value, Flow):
        value = value()
    if isinstance(value, Flow):
        return value
    if isinstance(value, BaseNode) or _is_node_class(value):
        return Flow(start=value)
    raise TargetError(f"{place}:{name} is neither a flow nor a node, nor does it make one: it gives {value!r:.60}")


def _is_node_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseNode)


def _usable_names(module: ModuleType) -> list[str]:
    """The flows of a module, and the nodes and functions that it defines itself."""
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, BaseNode)
        or (callable(value) and getattr(value, "__module__", None) == module.__name__ and not name.startswith("_"))
    ]


def _offers(module: ModuleType, place: str) -> str:
    names = _usable_names(module)
    if not names:
        return "It defines neither flows nor nodes nor functions."
    return f"Add one of its names, such as {place}:{names[-1]}; it has {', '.join(names[:12])}."


def _near_file(path: Path) -> str:
    folder = path.parent
    names = [entry.name for entry in folder.iterdir() if entry.suffix == ".py"] if folder.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {folder / near[0]}?" if near else ""


def _free_name(path: Path) -> str:
    """The file's stem, unless another module has that name: its importers must go on getting that one."""
    taken = path.stem in sys.modules or not path.stem.isidentifier()
    if not taken:
        spec = importlib.util.find_spec(path.stem)
        taken = spec is not None and spec.origin != str(path)
    return f"pocketflex_target_{path.stem}" if taken else path.stem


def _advice(error: BaseException) -> str:
    if "relative import" in str(error):
        return "; it is part of a package: give its dotted name instead, package.module"
    return ""
