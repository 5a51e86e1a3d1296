"""The table of faults of the benchmark: what a cell tells is read rightly, and nothing of a cell is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).parents[2]
sys.path.insert(0, str(TOP))
try:
    from bench.faults.__main__ import show
    from bench.faults.rows import ROWS
finally:
    sys.path.remove(str(TOP))


@pytest.mark.parametrize(
    ("row", "told", "word"),
    [
        ("sigkill", {"correct": 7, "usable": True}, "7/8"),
        ("sigkill", {"correct": 3, "usable": False}, "3/8 DEAD"),
        ("sigkill", {"correct": 3, "hung": True}, "3/8 DEAD"),
        ("sigkill", {"lost": "BrokenPool", "usable": True}, "WHOLE"),
        ("sigkill", {"lost": "BrokenPool", "usable": False}, "WHOLE DEAD"),
        ("sigkill", {"hung": True}, "HANG"),
        ("sigkill", {"code": -9}, "the caller ends"),
        ("hang", {"none": True}, "none"),
        ("lock", {"correct": 8}, "ok"),
        ("lock", {"correct": 0}, "error"),
        ("lock", {"hung": True}, "HANG"),
        ("random", {"same": True}, "yes"),
        ("interrupt", {"seconds": 0.123, "left": 0}, "0.1 s"),
        ("interrupt", {"seconds": None}, "> 15 s"),
        ("kill", {"left": 0, "memory": 0}, "clean"),
        ("terminate", {"left": 3, "memory": 1}, "3 left + shm"),
        ("kill", {"lost": "no item began"}, "fails"),
    ],
)
def test_what_a_cell_tells_is_put_into_words(row: str, told: dict[str, Any], word: str) -> None:
    assert row in ROWS
    assert show(row, told) == word


def test_a_small_run_writes_the_table(tmp_path: Path) -> None:
    arguments = ["--pools", "pocketflex,pool", "--only", "system-exit,kill", "--jobs", "4", "--results", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.faults", *arguments],
        cwd=TOP,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "| SystemExit | 7/8 | HANG |" in done.stdout
    assert "| parent SIGKILL, 10 s later | clean | 2 left |" in done.stdout
    assert (tmp_path / "faults.md").read_text() == done.stdout
    cells = json.loads((tmp_path / "faults.json").read_text())["cells"]
    assert cells["system-exit"]["pocketflex"] == {
        "correct": 7,
        "failed": {"3": "SystemExit"},
        "usable": True,
    }
