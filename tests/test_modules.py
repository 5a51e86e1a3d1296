"""A module that another thread is in the middle of importing is not there yet."""

from __future__ import annotations

import sys
import types
from importlib.machinery import ModuleSpec
from typing import Any

import pytest

from pocketflex.modules import loaded

THREADS = """
import threading
import pocketflex as pf

pf.parallel_map(abs, range(10))
thread = threading.Thread(target=__import__, args=("numpy",))
thread.start()
calls = 0
while thread.is_alive() or not calls:
    assert pf.parallel_map(abs, [*range(20)]) == [*range(20)]
    calls += 1
print("done")
"""


def test_what_is_imported_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded("sys") is sys
    assert loaded("no_such_module") is None
    monkeypatch.setitem(sys.modules, "no_such_module", None)  # which forbids to import it
    assert loaded("no_such_module") is None


def test_what_is_being_imported_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    module, spec = types.ModuleType("half"), ModuleSpec("half", None)
    module.__spec__ = spec
    monkeypatch.setitem(sys.modules, "half", module)
    assert loaded("half") is module
    spec._initializing = True  # type: ignore[attr-defined]  # as importlib has it until the end
    assert loaded("half") is None


def test_calls_go_on_while_another_thread_imports_numpy(run_script: Any) -> None:
    done = run_script(THREADS)
    assert (done.stdout, done.stderr) == ("done\n", "")
