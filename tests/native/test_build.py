"""What is built: the sources, the stub, the choice between the core and its twin, and the ledger under sanitizers."""

from __future__ import annotations

import ast
import inspect
import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

import pocketflex
from pocketflex._engine import native

PACKAGE = Path(pocketflex.__file__).parent
ROOT = PACKAGE.parent
CHOICE = """
import os
os.environ.update({variables})
from pocketflex._engine import native
print(native.IS_NATIVE, native.load.__module__)
"""

in_a_checkout = pytest.mark.skipif(not (ROOT / "native").is_dir(), reason="not run in a checkout")


def stub_signatures() -> dict[str, list[str]]:
    tree = ast.parse((PACKAGE / "_native.pyi").read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert all(not (node.args.args or node.args.kwonlyargs or node.args.vararg) for node in functions)
    return {node.name: [argument.arg for argument in node.args.posonlyargs] for node in functions}


def test_the_stub_names_what_is_there(core: Any) -> None:
    for name, arguments in stub_signatures().items():
        parameters = inspect.signature(getattr(core, name)).parameters.values()
        assert [parameter.name for parameter in parameters] == arguments
        assert all(parameter.kind is parameter.POSITIONAL_ONLY for parameter in parameters)


def test_everything_there_is_in_the_stub(both: tuple[Any, Any]) -> None:
    names = {*stub_signatures(), "LEDGER_WORDS"}
    assert {name for name in vars(both[0]) if not name.startswith("__")} == names
    assert set(both[1].__all__) == names
    assert set(native.__all__) == names | {"IS_NATIVE"}


def test_every_function_says_what_it_does(core: Any) -> None:
    assert all(inspect.getdoc(getattr(core, name)) for name in stub_signatures())


@pytest.mark.parametrize("variables", [{}, {"POCKETFLEX_REQUIRE_NATIVE": "1"}])
def test_the_native_core_is_taken_where_it_is(
    both: tuple[Any, Any], run_script: Any, variables: dict[str, str]
) -> None:
    if os.environ.get("POCKETFLEX_NO_NATIVE"):
        pytest.skip("the native core is switched off")
    assert run_script(CHOICE.format(variables=variables)).stdout == "True pocketflex._native\n"


def test_the_twin_is_taken_where_it_is_asked_for(run_script: Any) -> None:
    found = run_script(CHOICE.format(variables={"POCKETFLEX_NO_NATIVE": "1", "POCKETFLEX_REQUIRE_NATIVE": "0"}))
    assert found.stdout == "False pocketflex._engine.twin_words\n"


def test_a_missing_core_that_is_required_is_an_error(run_script: Any) -> None:
    hidden = "import sys\nsys.modules['pocketflex._native'] = None\n"
    script = hidden + CHOICE.format(variables={"POCKETFLEX_REQUIRE_NATIVE": "1"})
    assert "the native core of pocketflex cannot be loaded" in run_script(script).stderr
    script = hidden + CHOICE.format(variables={"POCKETFLEX_REQUIRE_NATIVE": "0"})
    assert run_script(script).stdout == "False pocketflex._engine.twin_words\n"


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is missing")
def test_one_build_serves_every_version(both: tuple[Any, Any]) -> None:
    file = both[0].__file__
    assert file.endswith("_native.abi3.so")
    listing = subprocess.run(["nm", "-D", "--undefined-only", file], capture_output=True, text=True, check=True).stdout
    internal = {line.split()[-1] for line in listing.splitlines() if line.split()[-1].startswith("_Py")}
    stable = {"_Py_Dealloc", "_Py_BuildValue_SizeT", "_Py_NoneStruct", "_Py_TrueStruct", "_Py_FalseStruct"}
    assert internal <= stable  # these are part of the stable ABI, under any name


@in_a_checkout
def test_every_source_is_built() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        (extension,) = tomllib.load(file)["tool"]["setuptools"]["ext-modules"]
    files = {f"native/{path.name}" for path in (ROOT / "native").iterdir()}
    assert {name for name in files if name.endswith(".c")} - {"native/stress.c"} == set(extension["sources"])
    assert {name for name in files if name.endswith(".h")} == set(extension["depends"])


@in_a_checkout
@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is missing")
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_the_ledger_withstands_threads_under_sanitizers(tmp_path: Path, sanitizer: str) -> None:
    flags = ["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]
    checks = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    sources = [str(ROOT / "native" / name) for name in ("stress.c", "ledger.c")]
    program = str(tmp_path / "stress")
    built = subprocess.run(["gcc", *flags, *checks, *sources, "-o", program], capture_output=True, text=True)
    if "cannot find" in built.stderr:
        pytest.skip("gcc has no such sanitizer here")
    assert built.returncode == 0, built.stderr
    # some kernels spread addresses wider than a sanitizer can map
    fixed = ["setarch", "-R"] if shutil.which("setarch") else []
    run = subprocess.run([*fixed, program, "1500"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert "items in 1500 entries" in run.stdout
