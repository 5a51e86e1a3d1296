"""A real kernel runs real cells: functions of a notebook in worker processes, progress, async models, the end."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable

import psutil
import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

DEFINE = """
import os
import pocketflex as pf
class Point:
    def __init__(self, x):
        self.x = x
factor = 3
def scale(point):
    return Point(point.x * factor)
"""


@pytest.fixture
def run_cells() -> Callable[..., list[str]]:
    """Run cells in a fresh kernel and return the text that each of them printed."""

    def run(*cells: str, allow_errors: bool = False) -> list[str]:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        loop = asyncio.new_event_loop()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of the notebook packages are not ours
            client = nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=allow_errors)
            try:
                loop.run_until_complete(client.async_execute())
            finally:
                loop.run_until_complete(loop.shutdown_default_executor())
                loop.close()
        return ["".join(text_of(output) for output in cell.outputs) for cell in notebook.cells]

    return run


def text_of(output: dict[str, object]) -> str:
    if output["output_type"] == "error":
        return str(output["ename"])
    return str(output.get("text", ""))


def test_what_a_notebook_defines_runs_in_workers(run_cells) -> None:  # type: ignore[no-untyped-def]
    _, printed, again = run_cells(
        DEFINE,
        "points = pf.parallel_map(scale, [Point(n) for n in range(5)], max_workers=2)\n"
        "print([p.x for p in points], all(type(p) is Point for p in points))",
        "factor = 10\nprint(pf.parallel_map(lambda n: n * factor, [1, 2]))",
    )
    assert printed.strip() == "[0, 3, 6, 9, 12] True"
    assert again.strip() == "[10, 20]"


def test_progress_counts_items_in_a_notebook(run_cells) -> None:  # type: ignore[no-untyped-def]
    _, printed = run_cells(DEFINE, "print(sum(pf.parallel_map(abs, range(100), progress=True)))")
    assert "4950" in printed
    assert "100/100" in printed


def test_async_models_run_on_the_loop_of_the_notebook(run_cells) -> None:  # type: ignore[no-untyped-def]
    cell = """
class Square(pf.BatchNode):
    def prep(self, shared):
        return range(4)
    def exec_item(self, n):
        return n * n
    def post(self, shared, items, squares):
        return "done", {"squares": squares}
print((await pf.run_async_parallel_batch(pf.Flow(start=Square)))["squares"])
"""
    assert run_cells(DEFINE, cell)[1].strip() == "[0, 1, 4, 9]"


def test_the_end_of_a_kernel_leaves_no_process(run_cells) -> None:  # type: ignore[no-untyped-def]
    cell = "print(*pf.parallel_map(lambda _: os.getpid(), range(20)), os.getppid())"
    pids = {int(pid) for pid in run_cells(DEFINE, cell)[1].split()[:-1]}
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=5)
    assert not alive


def test_what_items_print_is_the_output_of_their_cell(run_cells) -> None:  # type: ignore[no-untyped-def]
    cell = "done = pf.parallel_map(lambda n: print('item', n), range(3), max_workers=1)"
    assert run_cells(DEFINE, cell, "print('next')")[1:] == ["item 0\nitem 1\nitem 2\n", "next\n"]
