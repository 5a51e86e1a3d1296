"""Who may import whom: the two walls, the layers, and what a process has loaded.

Every import statement of the package is read, those inside functions too. A module may import
modules of its own layer and of those below it; what `ALLOWED` does not say is forbidden. Imports
upward are possible only inside a function, and only those in `DOORS`, each with its reason.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import pocketflex as pf

ROOT = Path(pf.__file__).parent

# A group is a set of modules of one layer; a group may import itself and the groups named with it.
GROUPS: dict[str, tuple[str, ...]] = {
    "errors": ("errors", "modules"),
    "values": ("outcome", "retry", "call", "options", "settlement", "seeds", "prepared"),
    "core": ("_native",),
    "flow": ("walk", "node", "batch_node", "async_node", "validation", "flow", "batch_flow"),
    "engine": ("_engine", "_engine.*"),
    "executors": ("executors", "executors.*"),
    "observe": ("observe", "observe.*"),
    "journal": ("journal", "journal.*"),
    "batch": ("batch", "assembly", "harvest"),
    "drive": ("drive",),
    "harvest": ("partial",),
    "models": ("models",),
    "parallel": ("parallel",),
    "aio": ("aio", "aio.*"),
    "draw": ("draw",),
    "statefile": ("statefile",),
    "target": ("target",),
    "package": ("",),
    "cli": ("cli", "__main__"),
    "examples": ("examples", "examples.*"),
}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "values": {"errors"},
    "core": set(),
    "flow": {"errors", "values"},
    "engine": {"errors", "values", "core"},
    "executors": {"errors", "values", "engine"},
    "observe": {"errors", "values"},
    "journal": {"errors", "values", "flow", "executors"},
    "batch": {"errors", "values", "executors", "observe", "journal"},
    "drive": {"errors", "values", "flow", "executors", "observe", "journal", "batch"},
    "models": {"errors", "values", "flow", "executors", "observe", "journal", "drive"},
    "parallel": {"errors", "values", "executors", "batch"},
    "aio": {"errors", "values", "engine", "flow", "observe", "journal", "batch", "drive", "models"},
    "draw": {"flow"},
    "statefile": {"errors"},
    "target": {"errors", "engine", "flow"},
    "package": {"errors", "values", "flow", "models", "parallel"},
    "cli": {"package", "errors", "values", "flow", "models", "observe", "statefile", "target"},
    "examples": {"package"},
}
# Within the engine: leaves first; each file may import those before it, and its own line.
ENGINE_LAYERS: tuple[tuple[str, ...], ...] = (
    ("role", "orders", "launch", "blackbox", "oom"),
    (
        "packets",
        "pace",
        "poller",
        "sizing",
        "turn",
        "by_value",
        "payload",
        "ranges",
        "exclusive",
        "stopwatch",
        "twin_words",
        "postmortem",
        "scalars",
    ),
    ("segments", "failures", "course", "twin_ledger", "twin_columns", "twin_fetch", "twin_stack", "twin_plain"),
    ("shm", "lens", "dispatch"),
    ("twin",),
    ("native",),
    ("hatch", "records", "ledger", "shared", "spawner", "arrays", "grains"),
    ("board", "source", "writing"),
    ("blocks", "transport"),
    ("fetching",),
    ("reading", "returns", "socket_transport"),
    ("items", "results"),
    ("voice",),
    ("speech",),
    ("task", "desk", "loading", "wear"),
    ("telling",),
    ("claims", "errand"),
    ("worker",),
    ("nursery",),
    ("member",),
    ("hearing",),
    ("crew",),
    ("job",),
    ("deadlines", "delays", "stock"),
    ("retired",),
    ("intake",),
    ("staff", "part", "errands", "ears"),
    ("standpoint",),
    ("pool",),
    ("home",),
)
# An import upward, inside a function, and why it must be.
DOORS: dict[tuple[str, str], str] = {
    ("node", "models"): "node.run(shared), PocketFlow's way to run a node",
    ("async_node", "aio"): "node.run_async(shared), the same awaited",
    ("flow", "draw"): "flow.to_mermaid() and flow._repr_html_()",
    ("parallel", "_engine.home"): "pf.shutdown(), and the start of the spawner before anything else is imported",
    ("parallel", "_engine.shared"): "pf.share(); the same",
    ("cli", "aio"): "the async models are lazy: asyncio costs 30 ms",
}
SOLE_IMPORTERS = {
    "asyncio": ("aio", "aio.*"),
    "cloudpickle": ("_engine.by_value",),
    "argparse": ("cli",),
    "tqdm": ("observe.progress",),
    "subprocess": ("_engine.launch",),
    "multiprocessing": (),
    "ctypes": ("_engine.nursery",),
    "mmap": ("_engine.shm", "_engine.lens", "_engine.segments"),
}
OWN_SOLE_IMPORTERS = {"_native": "_engine.native", "_engine.twin": "_engine.native"}
NEVER_AT_THE_TOP = ("numpy", "psutil", "tqdm", "ctypes")
WITHOUT_IO = ("_engine.dispatch", "_engine.ranges", "_engine.pace", "walk")
INPUT_AND_OUTPUT = {"os", "io", "time", "threading", "socket", "select", "subprocess", "signal", "mmap", "pathlib"}


class Import(NamedTuple):
    source: str
    target: str  # within the package for an own one, else the first part of the name
    is_own: bool
    is_late: bool  # inside a function
    is_for_types: bool
    line: int


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
COMPILED = {"_native"}  # may be missing, where there is no compiler; imports nothing


class Finder(ast.NodeVisitor):
    """Collects the imports of one module."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.found: list[Import] = []
        self._depth = 0
        self._is_for_types = False

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_If(self, node: ast.If) -> None:
        outer = self._is_for_types
        self._is_for_types = outer or ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for child in node.body:
            self.visit(child)
        self._is_for_types = outer
        for child in node.orelse:
            self.visit(child)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = self._absolute(node)
        for alias in node.names:
            inner = f"{base}.{alias.name}".removeprefix("pocketflex.")
            is_module = base.split(".")[0] == "pocketflex" and inner in {*MODULES, *COMPILED}
            self._add(f"{base}.{alias.name}" if is_module else base, node.lineno)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = ["pocketflex", *(part for part in self.source.split(".") if part)]
        if MODULES[self.source].name != "__init__.py":
            package = package[:-1]
        package = package[: len(package) - (node.level - 1)]
        return ".".join([*package, *([node.module] if node.module else [])])

    def _add(self, name: str, line: int) -> None:
        first, _, rest = name.partition(".")
        is_own = first == "pocketflex"
        target = rest if is_own else first
        self.found.append(Import(self.source, target, is_own, self._depth > 0, self._is_for_types, line))


@cache
def imports() -> tuple[Import, ...]:
    found: list[Import] = []
    for name, path in MODULES.items():
        finder = Finder(name)
        finder.visit(ast.parse(path.read_text()))
        found += finder.found
    return tuple(found)


def own() -> Iterator[Import]:
    return (found for found in imports() if found.is_own and not found.is_for_types)


def matches(module: str, patterns: tuple[str, ...]) -> bool:
    return any(
        module == pattern or (pattern.endswith(".*") and module.startswith(pattern[:-1])) for pattern in patterns
    )


def group_of(module: str) -> str:
    return next(name for name, patterns in GROUPS.items() if matches(module, patterns))


def show(found: list[Import]) -> str:
    return "\n".join(f"{MODULES[one.source]}:{one.line}: imports {one.target or 'pocketflex'}" for one in found)


@pytest.mark.parametrize("module", [*MODULES, *COMPILED])
def test_every_module_has_exactly_one_place(module: str) -> None:
    assert len([name for name, patterns in GROUPS.items() if matches(module, patterns)]) == 1


def test_own_imports_name_modules_that_exist() -> None:
    assert show([found for found in own() if found.target not in {*MODULES, *COMPILED}]) == ""


def test_the_groups_have_an_order() -> None:
    """What is allowed has no cycle, so there is a lowest layer."""
    left = dict(ALLOWED)
    while left:
        lowest = [name for name, below in left.items() if not below & set(left)]
        assert lowest, f"a cycle among {sorted(left)}"
        for name in lowest:
            del left[name]


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_imports_only_what_is_below_it(group: str) -> None:
    wrong = [
        found
        for found in own()
        if group_of(found.source) == group
        and group_of(found.target) not in {group, *ALLOWED[group]}
        and (found.source, found.target) not in DOORS
    ]
    assert show(wrong) == ""


@pytest.mark.parametrize(("source", "target"), DOORS)
def test_a_door_upward_is_used_and_only_inside_a_function(source: str, target: str) -> None:
    through = [found for found in own() if (found.source, found.target) == (source, target)]
    assert through, "nobody goes through this door any more: remove it"
    assert show([found for found in through if not found.is_late]) == ""


def test_imports_for_types_alone_may_point_upward_within_their_group_only() -> None:
    late = [found for found in imports() if found.is_own and found.is_for_types and found.source]
    down = [found for found in late if group_of(found.target) in ALLOWED[group_of(found.source)]]  # what is lazy
    assert (
        show([found for found in late if group_of(found.source) != group_of(found.target) and found not in down]) == ""
    )


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    edges: dict[str, set[str]] = {name: set() for name in MODULES}
    for found in own():
        if not found.is_late and found.target != found.source:
            edges[found.source].add(found.target)
    while True:
        lowest = [name for name, targets in edges.items() if not targets & set(edges)]
        if not lowest:
            break
        for name in lowest:
            del edges[name]
    assert edges == {}


def test_every_engine_file_has_a_layer() -> None:
    files = {name.removeprefix("_engine.") for name in MODULES if name.startswith("_engine.")}
    assert files == {name for layer in ENGINE_LAYERS for name in layer}


def test_within_the_engine_nothing_imports_upward() -> None:
    height = {f"_engine.{name}": number for number, layer in enumerate(ENGINE_LAYERS) for name in layer}
    inside = [found for found in own() if found.source in height and found.target in height]
    assert show([found for found in inside if height[found.source] < height[found.target]]) == ""


@pytest.mark.parametrize(
    ("side", "beyond"),
    [
        (
            "engine",
            (
                "node",
                "batch_node",
                "async_node",
                "flow",
                "batch_flow",
                "walk",
                "drive",
                "models",
                "batch",
                "aio",
                "aio.*",
            ),
        ),
        ("flow", ("executors", "executors.*", "_engine", "_engine.*", "batch", "drive")),
    ],
)
def test_the_walls_have_no_door(side: str, beyond: tuple[str, ...]) -> None:
    """The engine does not know what a flow is, a flow does not know what a process is."""
    through = [found for found in imports() if found.is_own and group_of(found.source) == side]
    assert show([found for found in through if matches(found.target, beyond)]) == ""


@pytest.mark.parametrize("package", SOLE_IMPORTERS)
def test_a_package_has_its_sole_importers(package: str) -> None:
    wrong = [
        found
        for found in imports()
        if not found.is_own and found.target == package and not matches(found.source, SOLE_IMPORTERS[package])
    ]
    assert show(wrong) == ""


@pytest.mark.parametrize(("module", "importer"), OWN_SOLE_IMPORTERS.items())
def test_the_core_and_its_twin_are_chosen_in_one_place(module: str, importer: str) -> None:
    assert {found.source for found in own() if found.target == module} == {importer}


@pytest.mark.parametrize("package", NEVER_AT_THE_TOP)
def test_a_costly_package_is_imported_where_it_is_needed(package: str) -> None:
    top = [found for found in imports() if not found.is_own and not found.is_late and not found.is_for_types]
    assert show([found for found in top if found.target == package]) == ""


@pytest.mark.parametrize("module", WITHOUT_IO)
def test_decisions_are_apart_from_input_and_output(module: str) -> None:
    allowed = {"pathlib"} if module == "walk" else set()  # it names the package's own folder for warnings
    wrong = [found for found in imports() if found.source == module and found.target in INPUT_AND_OUTPUT - allowed]
    assert show(wrong) == ""


# --- what is loaded ----------------------------------------------------------------------------

HEAVY = ("asyncio", "argparse", "numpy", "psutil", "cloudpickle", "multiprocessing", "tqdm", "ctypes")
IMPORT_ALONE = f"""
import sys, json
from time import process_time
begun = process_time()
import pocketflex
seconds = process_time() - begun
print(json.dumps([seconds, sorted({set(HEAVY)!r} & set(sys.modules))]))
"""


def test_importing_the_package_loads_nothing_heavy_and_is_quick(run_script: Any) -> None:
    outputs = [json.loads(run_script(IMPORT_ALONE, "-c").stdout) for _ in range(5)]
    assert outputs[0][1] == []
    assert min(seconds for seconds, _ in outputs) < 0.080


WORKER_LOADS = """
import pocketflex as pf
def loaded(_item):
    import sys
    heavy = {"asyncio", "argparse", "numpy", "psutil", "multiprocessing", "subprocess", "tqdm"}
    return sorted(heavy & set(sys.modules))
print(*set(map(tuple, pf.parallel_map(loaded, range(4), max_workers=2))))
"""


def test_a_worker_loads_nothing_that_its_items_do_not_need(run_script: Any) -> None:
    done = run_script(WORKER_LOADS)
    assert (done.stdout, done.stderr) == ("()\n", "")


FIRST_CALL = """
import os, sys, pocketflex as pf
loaded, spawn = [], os.posix_spawn
def watch(*args, **options):
    loaded.append(set(sys.modules))
    return spawn(*args, **options)
os.posix_spawn = watch
early = {"asyncio", "cloudpickle", "concurrent.futures", "dataclasses", "numpy", "psutil", "socket", "subprocess"}
late = {"asyncio", "ctypes", "multiprocessing", "numpy", "psutil", "subprocess"}
pf.parallel_map(abs, [-1, -2])
pf.parallel_map(len, ["ab"])
pf.parallel_map(abs, [1], executor="serial")
print(len(loaded), sorted(early & loaded[0]), sorted(late & set(sys.modules)))
"""


def test_the_first_call_starts_the_spawner_before_it_imports_what_both_need(run_script: Any) -> None:
    """Both then import at the same time. Later calls start nothing."""
    done = run_script(FIRST_CALL)
    assert (done.stdout, done.stderr) == ("1 [] []\n", "")


SERIAL_CALL = """
import os, pocketflex as pf
os.posix_spawn = None
print(pf.parallel_map(abs, [-1], executor="serial"), pf.parallel_map(abs, [-1], executor="threads"))
"""


def test_other_executors_start_no_process(run_script: Any) -> None:
    done = run_script(SERIAL_CALL)
    assert (done.stdout, done.stderr) == ("[1] [1]\n", "")
