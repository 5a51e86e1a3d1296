"""The example's counts, held against sources counted by hand, and the flow as a whole."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import pocketflex as pf
from pocketflex.examples import complexity
from pocketflex.examples.complexity import Function, SourceFile


def measures(source: str) -> tuple[Function, ...]:
    return complexity.functions_of(ast.parse(source))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return 1", 1),
        ("if a: pass", 2),
        ("if a: pass\n  elif b: pass\n  else: pass", 3),
        ("for x in a: pass\n  else: pass", 2),
        ("while a: break", 2),
        ("try: pass\n  except A: pass\n  except B: pass\n  finally: pass", 3),
        ("with a: pass", 1),
        ("assert a", 2),
        ("return a if b else c", 2),
        ("return a and b and c or d", 4),
        ("return [x for x in a if x if y]", 4),
        ("return {x: y for x in a for y in x}", 3),
        ("return lambda: a or b", 2),
        ("match a:\n    case 1: pass\n    case 2 | 3: pass\n    case _: pass", 3),
        ("match a:\n    case x if x: pass\n    case _ if b: pass", 4),
    ],
)
def test_complexity_is_decision_points_plus_one(body: str, expected: int) -> None:
    (function,) = measures(f"def f():\n  {body}")
    assert function.complexity == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return 1", 0),
        ("if a: pass", 1),
        ("if a: pass\n  elif b: pass\n  elif c: pass", 1),
        ("if a: pass\n  elif b:\n    for x in c: pass", 2),
        ("if a: pass\n  else:\n    if b: pass\n    c()", 2),
        ("with a:\n    try:\n      pass\n    except A:\n      if b: pass", 3),
        ("return a if b else [c for c in d if e]", 0),
    ],
)
def test_depth_counts_nested_statements(body: str, expected: int) -> None:
    (function,) = measures(f"def f():\n  {body}")
    assert function.depth == expected


def test_methods_and_inner_functions_are_measured_on_their_own() -> None:
    method = "async def b(self):\n      def c():\n        if d: pass\n      if e: pass\n      if g: pass\n"
    source = f"if a:\n  class A:\n    {method}"
    assert measures(source) == (Function("A.b", 3, 3, 1), Function("A.b.c", 4, 2, 1))


def test_a_long_sum_is_not_too_deep() -> None:
    (function,) = measures(f"def f(): return {' + '.join('a' * 500)}")
    assert function.complexity == 1


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (b"def f(:", "SyntaxError: invalid syntax"),
        (b"a = 1\0", "source code string cannot contain null bytes"),
        (b"# coding: nonsense\n", "SyntaxError: "),
        (b"a = '\xff'", "SyntaxError: "),
        (b"(" * 150 + b")" * 150, None),
        (b" + ".join([b"1"] * 100_000), "RecursionError: "),
        (b"-" * 200_000 + b"1", "MemoryError: "),
        (b"'\\d'", None),
    ],
)
def test_a_file_that_does_not_parse_is_a_result(tmp_path: Path, source: bytes, error: str | None) -> None:
    (tmp_path / "a.py").write_bytes(source)
    record = complexity.Measure().exec_item((str(tmp_path), "a.py"))
    assert record.lines == 1
    assert (error in str(record.error)) if error else (record.error is None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "sub").mkdir()
    (tmp_path / "site-packages" / "c.py").write_text("")
    (tmp_path / "sub" / "b.py").write_text("def simple(): pass\n\ndef twice():\n  if a: pass\n")
    (tmp_path / "a.py").write_text("def broken(:")
    (tmp_path / "a.txt").write_text("")
    return tmp_path


@pytest.mark.parametrize("model", [pf.run, pf.run_batch, pf.run_parallel_batch])
def test_the_flow_measures_a_folder_under_every_model(
    folder: Path, capsys: pytest.CaptureFixture[str], model: Any
) -> None:
    final = model(complexity.flow, {"path": str(folder), "top": 1})
    assert final["files"] == ["a.py", "sub/b.py"]
    broken, sub = final["measured"]
    assert broken.error is not None
    assert sub == SourceFile("sub/b.py", 4, (Function("simple", 1, 1, 0), Function("twice", 3, 2, 1)))
    printed = capsys.readouterr().out
    assert "twice" in printed
    assert "simple" not in printed
    assert "2 files, 5 lines, 2 functions" in printed
    assert "1 file did not parse" in printed


def test_the_report_fits_80_columns() -> None:
    files = [
        SourceFile("folder/" * 9 + "a.py", 12_345, (Function("Class.method" * 9, 12_345, 1_234, 12),)),
        SourceFile("folder/" * 9 + "b.py", 1, error="SyntaxError: " + "a very long message " * 9),
    ]
    text = complexity.Report().exec((files, 10))
    assert max(map(len, text.splitlines())) < 80


def test_a_path_that_is_no_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="nowhere"):
        pf.run(complexity.flow, {"path": str(tmp_path / "nowhere")})
