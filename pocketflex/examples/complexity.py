"""Which functions of a folder of Python source are the most complex? A flow of three nodes.

    Find -> Measure -> Report

Run it over the standard library of your own interpreter, on all cores::

    pocketflex run pocketflex.examples.complexity
    pocketflex run pocketflex.examples.complexity --set path=src --set top=20

Complexity is T. J. McCabe's cyclomatic number ("A Complexity Measure", IEEE Transactions on Software
Engineering SE-2(4), 1976): a function's decision points + 1. A decision point is an `if`, `elif`,
`for`, `while`, `except`, `assert` or conditional expression, each `and` and `or`, each `for` and `if`
of a comprehension, each `case` but a bare `case _`, and the guard of a case. A function within a
function is measured on its own. McCabe's advice was to keep functions at 10 or below.
"""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import pocketflex as pf

Shared = dict[str, Any]


class Function(NamedTuple):
    """The measures of one function; `depth` is how deep its statements nest, 0 if they do not."""

    name: str
    line: int
    complexity: int
    depth: int


@dataclass(frozen=True)
class SourceFile:
    """The measures of one file, or the `error` why it could not be parsed."""

    path: str
    lines: int
    functions: tuple[Function, ...] = ()
    error: str | None = None


class Find(pf.Node[Shared, Path, list[str]]):
    """List the Python files below `shared["path"]`, by default those of the standard library."""

    def prep(self, shared: Shared) -> Path:
        return Path(shared.get("path") or sysconfig.get_path("stdlib"))

    def exec(self, folder: Path) -> list[str]:
        if not folder.is_dir():
            raise NotADirectoryError(f"path={str(folder)!r} is not a folder")
        relative = (path.relative_to(folder) for path in folder.rglob("*.py"))
        return sorted(path.as_posix() for path in relative if not SKIPPED.intersection(path.parts))

    def post(self, shared: Shared, folder: Path, files: list[str]) -> tuple[str, Shared]:
        return "found", {**shared, "path": str(folder), "files": files}


class Measure(pf.BatchNode[Shared, tuple[str, str], SourceFile]):
    """Measure each file: the work that is worth all the cores."""

    def prep(self, shared: Shared) -> list[tuple[str, str]]:
        return [(shared["path"], file) for file in shared["files"]]

    def exec_item(self, item: tuple[str, str]) -> SourceFile:
        folder, file = item
        source = Path(folder, file).read_bytes()
        lines = len(source.splitlines())
        try:
            return SourceFile(file, lines, functions_of(parse(source)))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            # ValueError: null bytes, bad encoding; the other two: nested too deeply for the parser
            return SourceFile(file, lines, error=f"{type(error).__name__}: {error}")

    def post(self, shared: Shared, items: object, measured: list[SourceFile]) -> tuple[str, Shared]:
        return "measured", {**shared, "measured": measured}


class Report(pf.Node[Shared, tuple[list[SourceFile], int], str]):
    """Print the `shared["top"]` most complex functions, the totals and the files with errors."""

    def prep(self, shared: Shared) -> tuple[list[SourceFile], int]:
        # With on_error="collect" a pf.Failure may stand in the place of a result.
        files = [file for file in shared["measured"] if isinstance(file, SourceFile)]
        return files, int(shared.get("top", 10))

    def exec(self, prepared: tuple[list[SourceFile], int]) -> str:
        files, top = prepared
        return f"{table(files, top)}\n\n{totals(files)}"

    def post(self, shared: Shared, prepared: object, text: str) -> None:
        print(text)


SKIPPED = {"site-packages", "__pycache__"}

flow = pf.Flow(start=Find).connect(Find, Measure, "found").connect(Measure, Report, "measured")


def parse(source: bytes) -> ast.Module:
    """The syntax tree of `source`, without the warnings that its own author should read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPE = (*FUNCTION, ast.ClassDef)
NESTING = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)

DECISIONS: dict[type[ast.AST], Callable[[Any], int]] = {
    **dict.fromkeys((ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.Assert, ast.IfExp), lambda _: 1),
    ast.BoolOp: lambda node: len(node.values) - 1,
    ast.comprehension: lambda node: 1 + len(node.ifs),
    ast.match_case: lambda case: (not is_wildcard(case.pattern)) + (case.guard is not None),
}


def is_wildcard(pattern: ast.pattern) -> bool:
    """Is it the pattern `_`, which matches everything and so decides nothing?"""
    return isinstance(pattern, ast.MatchAs) and pattern.pattern is None and pattern.name is None


def functions_of(tree: ast.Module) -> tuple[Function, ...]:
    """Measure every function of a module, methods and inner functions too, in the order of the source."""
    found = []
    scopes: list[tuple[ast.AST, str]] = [(tree, "")]
    for scope, name in scopes:  # the list grows while it is read
        complexity, depth, inner = measure_scope(scope)
        scopes += [(child, f"{name}.{child.name}".lstrip(".")) for child in inner]
        if isinstance(scope, FUNCTION):
            found.append(Function(name, scope.lineno, complexity, depth))
    return tuple(sorted(found, key=lambda function: function.line))


def measure_scope(scope: ast.AST) -> tuple[int, int, list[Any]]:
    """The complexity and depth of a scope's own code, and the functions and classes right inside it."""
    complexity, deepest, inner = 1, 0, []
    # Not recursive: a sum of a thousand terms is a tree a thousand levels deep.
    waiting = [(child, 0) for child in ast.iter_child_nodes(scope)]
    while waiting:
        node, depth = waiting.pop()
        if isinstance(node, SCOPE):
            inner.append(node)
            continue
        if type(node) in DECISIONS:
            complexity += DECISIONS[type(node)](node)
        depth += isinstance(node, NESTING)
        deepest = max(deepest, depth)
        waiting += [(child, depth - is_elif(node, child)) for child in ast.iter_child_nodes(node)]
    return complexity, deepest, inner


def is_elif(parent: ast.AST, child: ast.AST) -> bool:
    """Is it an `elif`, which the tree holds as an `if` alone in the `else` of its parent?"""
    return isinstance(parent, ast.If) and isinstance(child, ast.If) and parent.orelse == [child]


def table(files: list[SourceFile], top: int) -> str:
    """The most complex functions, in rows of less than 80 columns."""
    rows = [(function, file.path) for file in files for function in file.functions]
    rows.sort(key=lambda row: (-row[0].complexity, row[1], row[0].line))
    lines = ["complexity  depth  function                      file"]
    for function, path in rows[:top]:
        where = f"{path}:{function.line}"
        lines.append(f"{function.complexity:10}  {function.depth:5}  {cut(function.name, 28):28}  {cut(where, 30)}")
    return "\n".join(lines)


def cut(text: str, width: int) -> str:
    """`text`, or the end of it behind an ellipsis if it is wider than that."""
    return text if len(text) <= width else "…" + text[1 - width :]


def totals(files: list[SourceFile]) -> str:
    """The sums over all files, then each file that did not parse."""
    functions = [function for file in files for function in file.functions]
    broken = [file for file in files if file.error]
    mean = sum(function.complexity for function in functions) / max(len(functions), 1)
    above = sum(function.complexity > 10 for function in functions)
    lines = [
        f"{len(files):,} files, {sum(file.lines for file in files):,} lines, {len(functions):,} functions",
        f"mean complexity {mean:.1f}, {above:,} functions above 10",
    ]
    if broken:
        lines.append(f"{len(broken)} {'file' if len(broken) == 1 else 'files'} did not parse:")
        lines += [f"  {cut(file.path, 33):33}  {shorten(str(file.error), 42, placeholder='…')}" for file in broken]
    return "\n".join(lines)
