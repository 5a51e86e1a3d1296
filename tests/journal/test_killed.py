"""After SIGKILL of everything the same call computes only what is missing, and gives the same answer.

A script is killed with its whole process group while an item waits for ever; then it runs again, and does not wait.
The items write down their calls.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

ITEMS = """
import asyncio, os, sys
import pocketflex as pf

def note(name, item):
    with open("calls", "a") as calls:
        calls.write(f"{name} {item}\\n")

def wait():
    if not os.path.exists("second"):
        with open("begun", "w") as begun:
            begun.write("x")
        open("never").read()

def work(item):
    note("work", item)
    if item == 150:
        wait()
    return {"item": item, "root": item ** 0.5}

class First(pf.BatchNode):
    def prep(self, shared):
        return (n for n in range(60))
    def exec_item(self, n):
        note("First", n)
        return n * n
    def post(self, shared, items, results):
        return "next", {**shared, "first": results}

class Second(pf.BatchNode):
    def prep(self, shared):
        return shared["first"]
    def exec_item(self, n):
        note("Second", n)
        if n == 30 * 30:
            wait()
        return n + 1
    def post(self, shared, items, results):
        return "end", {**shared, "second": results}

class Fetch(pf.AsyncBatchNode):
    def prep(self, shared):
        return range(40)
    async def exec_item_async(self, n):
        note("Fetch", n)
        await asyncio.sleep(0)
        if n == 30:
            await asyncio.to_thread(wait)
        return f"page {n}"
    def post(self, shared, items, results):
        return "end", {**shared, "pages": results}

flow = pf.Flow(start=First).connect(First, Second, "next")
"""
STREAM = (
    "for n, result in enumerate(pf.parallel_imap(work, range(200), resume='run.journal', {options})): print(result)"
)
CALLS = {
    "processes": STREAM.format(options=""),
    "one worker": STREAM.format(options="max_workers=1, chunksize=1"),
    "this process too": STREAM.format(options="isolate=False"),
    "threads": STREAM.format(options="executor='threads'"),
    "serial": STREAM.format(options="executor='serial'"),
    "in any order": "print(sorted(r['item'] for r in pf.parallel_imap("
    "work, iter(range(200)), ordered=False, resume='run.journal')))",
    "run": "print(pf.run(flow, resume='run.journal'))",
    "run_parallel_batch": "print(pf.run_parallel_batch(flow, resume='run.journal'))",
    "run_async": "print(asyncio.run(pf.run_async(flow, resume='run.journal')))",
    "run_async_parallel_batch": "print(asyncio.run(pf.run_async_parallel_batch(flow, resume='run.journal')))",
    "one after another": "print(asyncio.run(pf.run_async_batch(Fetch, resume='run.journal')))",
    "at once": "print(asyncio.run(pf.run_async_parallel_batch(Fetch, max_concurrency=3, resume='run.journal')))",
}

ANSWERS = {
    "print(result)": [str({"item": n, "root": n**0.5}) for n in range(200)],
    "sorted": [str(list(range(200)))],
    "flow": [str({"first": [n * n for n in range(60)], "second": [n * n + 1 for n in range(60)]})],
    "Fetch": [str({"pages": [f"page {n}" for n in range(40)]})],
}


def calls_in(folder: Path) -> Counter[str]:
    return Counter((folder / "calls").read_text().splitlines())


def kill_all(process: subprocess.Popen[str]) -> None:
    """Kill a process group; its workers end by themselves, and until then they may write down a call."""
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs(family, timeout=20)[1] == []


@pytest.mark.parametrize("call", CALLS)
def test_only_what_is_missing_is_computed(
    tmp_path: Path, start_script: Any, run_script: Any, journalled: Any, call: str
) -> None:
    source = ITEMS + CALLS[call]
    for fifo in ("begun", "never"):
        os.mkfifo(tmp_path / fifo)
    process = start_script(source)
    (tmp_path / "begun").read_text()  # ends when an item waits
    while not journalled(tmp_path / "run.journal"):  # what was told before that is on its way
        assert process.poll() is None
    kill_all(process)
    killed, kept = calls_in(tmp_path), journalled(tmp_path / "run.journal")
    (tmp_path / "second").touch()
    (tmp_path / "calls").write_text("")
    resumed = run_script(source)
    assert resumed.stderr == ""
    again = calls_in(tmp_path)
    assert max(again.values()) == 1
    assert len(again) == len(killed | again) - kept
    assert resumed.stdout.splitlines() == next(
        answer for part, answer in ANSWERS.items() if part in source[len(ITEMS) :]
    )


def test_a_result_that_was_delivered_is_never_computed_again(
    tmp_path: Path, start_script: Any, run_script: Any
) -> None:
    source = ITEMS + STREAM.format(options="").replace("print(result)", "print(n, flush=True)")
    for fifo in ("begun", "never"):
        os.mkfifo(tmp_path / fifo)
    process = start_script(source)
    (tmp_path / "begun").read_text()
    kill_all(process)
    delivered = process.stdout.read().split("\n")[:-1]
    (tmp_path / "second").touch()
    (tmp_path / "calls").write_text("")
    assert run_script(source).stdout.split() == [str(n) for n in range(200)]
    assert not {f"work {n}" for n in delivered} & set(calls_in(tmp_path))


def test_the_next_run_has_the_journal_at_once(tmp_path: Path, start_script: Any, run_script: Any) -> None:
    """The lock ends with the process that was killed, however long its workers need to notice."""
    source = ITEMS + CALLS["processes"]
    for fifo in ("begun", "never"):
        os.mkfifo(tmp_path / fifo)
    process = start_script(source)
    (tmp_path / "begun").read_text()
    os.kill(process.pid, signal.SIGKILL)  # it alone
    process.wait()
    (tmp_path / "second").touch()
    assert run_script(source).stderr == ""
