"""Which flow a TARGET names, and what is said when it names none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import pocketflex as pf
from pocketflex.target import TargetError, find_flow, split_target

SOURCE = """
import pocketflex as pf

class A(pf.Node):
    pass

class B(pf.Node):
    pass

flow = pf.Flow(start=A)
"""


@pytest.fixture(autouse=True)
def imports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Work in an empty folder; whatever is imported there is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        del sys.modules[name]


def find(source: str, name: str = "", file: str = "work.py") -> Any:
    Path(file).write_text(source)
    return find_flow(f"{file}:{name}" if name else file)


def problem(source: str, name: str = "") -> str:
    with pytest.raises(TargetError) as caught:
        find(source, name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("a/b.py", ("a/b.py", "")),
        ("a/b.py:flow", ("a/b.py", "flow")),
        ("a.b:flow", ("a.b", "flow")),
        ("a.b:", ("a.b", "")),
        (r"C:\a\b.py", (r"C:\a\b.py", "")),
        (r"C:\a\b.py:flow", (r"C:\a\b.py", "flow")),
    ],
)
def test_a_target_is_a_place_and_perhaps_a_name(target: str, expected: tuple[str, str]) -> None:
    assert split_target(target) == expected


def test_the_only_flow_needs_no_name_whatever_its_aliases() -> None:
    flow = find(SOURCE + "also = flow\n")
    assert flow is sys.modules["work"].flow


def test_a_module_of_the_current_folder_is_found_by_its_dotted_name() -> None:
    Path("package").mkdir()
    Path("package/work.py").write_text(SOURCE)
    assert isinstance(find_flow("package.work:flow"), pf.Flow)


@pytest.mark.parametrize(
    "definition",
    [
        "it = pf.Flow(start=A)",
        "it = A",
        "it = A()",
        "def it(): return pf.Flow(start=A)",
        "def it(): return A",
        "class it(pf.Flow):\n  def __init__(self): super().__init__(start=A)",
    ],
)
def test_a_name_may_be_a_flow_a_node_or_what_makes_one(definition: str) -> None:
    flow = find(SOURCE + definition + "\n", "it")
    assert isinstance(flow, pf.Flow)
    assert pf.run(flow, {"a": 1}) == {"a": 1}


def test_several_flows_are_listed() -> None:
    assert problem(SOURCE + "other = pf.Flow(start=B)\n") == (
        "there are 2 flows in work.py; say which one: work.py:flow, work.py:other"
    )


def test_without_a_flow_the_nodes_and_functions_are_listed() -> None:
    message = problem(SOURCE.replace("flow = pf.Flow(start=A)", "def make(): return pf.Flow(start=A)"))
    assert message.startswith(
        "there is no flow in work.py. Add one of its names, such as work.py:make; it has A, B, make"
    )


def test_a_file_without_anything() -> None:
    assert "neither flows nor nodes nor functions" in problem("a = 1\n")


def test_a_mistyped_name_gets_a_suggestion() -> None:
    assert problem(SOURCE, "flwo") == "there is no 'flwo' in work.py. Did you mean flow?"


def test_a_name_that_is_something_else() -> None:
    assert "neither a flow nor a node" in problem(SOURCE + "it = 3\n", "it")


def test_a_missing_file_and_its_neighbour() -> None:
    Path("work.py").write_text(SOURCE)
    with pytest.raises(TargetError, match=r"^wrok\.py does not exist; did you mean work\.py\?$"):
        find_flow("wrok.py")


@pytest.mark.parametrize("place", ["nowhere", "json.nowhere", "nowhere.at.all"])
def test_a_missing_module(place: str) -> None:
    with pytest.raises(TargetError, match="there is no module"):
        find_flow(place)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("1/0", ZeroDivisionError),
        ("a b", SyntaxError),
        ("raise SystemExit(3)", SystemExit),
        ("import nowhere", ImportError),
    ],
)
@pytest.mark.parametrize("place", ["work.py", "work"])
def test_what_the_targets_own_code_raises_is_the_cause(source: str, kind: type[BaseException], place: str) -> None:
    Path("work.py").write_text(source)
    with pytest.raises(TargetError, match="cannot be loaded") as caught:
        find_flow(place)
    assert isinstance(caught.value.__cause__, kind)


def test_a_function_that_needs_arguments_is_the_cause() -> None:
    with pytest.raises(TargetError) as caught:
        find(SOURCE + "def make(a): pass\n", "make")
    assert isinstance(caught.value.__cause__, TypeError)


def test_part_of_a_package_is_told_its_dotted_name() -> None:
    assert "dotted name" in problem("from . import a\n")


def test_a_file_sees_its_neighbours_and_is_not_the_main_program() -> None:
    Path("folder").mkdir()
    Path("folder/neighbour.py").write_text(SOURCE)
    flow = find("from neighbour import flow\nif __name__ == '__main__':\n  1/0\n", file="folder/work.py")
    assert isinstance(flow, pf.Flow)


@pytest.mark.parametrize("stem", ["json", "my-flow", "__main__"])
def test_a_file_does_not_take_the_name_of_another_module(stem: str) -> None:
    before = sys.modules.get(stem)
    find(SOURCE, file=f"{stem}.py")
    assert sys.modules.get(stem) is before
    assert isinstance(sys.modules[f"pocketflex_target_{stem}"], ModuleType)
