"""The command line as a user meets it: what is printed where, and the exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pocketflex import cli

WORK = """
import os, sys
import pocketflex as pf

class Double(pf.BatchNode):
    def prep(self, shared):
        return shared.get("items", [1, 2, 3])
    def exec_item(self, item):
        return work(item)
    def post(self, shared, items, results):
        return shared.get("action"), {**shared, "doubled": results, "pid": os.getpid()}

def work(item):
    if item == "bad":
        raise ValueError("this is bad")
    if item == "exit":
        sys.exit(3)
    if item == "opaque":
        return lambda: 0
    if item == "process":
        return os.getpid()
    if item == "wait":
        with open("begun", "w") as fifo:
            fifo.write("x")
        open("never").read()
    return item * 2

class Show(pf.Node):
    def post(self, shared, prepared, result):
        print("doubled:", shared["doubled"])

flow = pf.Flow(start=Double).connect(Double, Show).connect(Double, Show, "show")
"""
EDGES = """
import json, random
import pocketflex as pf

class Prep(pf.Node):
    def prep(self, shared):
        return json.loads("{")

class NotIterable(pf.BatchNode):
    def exec_item(self, item):
        return item

    def prep(self, shared):
        return 3

class Endless(pf.AsyncBatchNode):
    async def exec_item_async(self, item):
        return item
    def prep(self, shared):
        return [float("nan"), 1]
    def post(self, shared, items, results):
        print("once")
        shared["results"] = results

empty = pf.Flow()
async_flow = pf.AsyncFlow(start=Endless)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("work.py").write_text(WORK)
    Path("edges.py").write_text(EDGES)
    return tmp_path


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "pocketflex", *words]


def pocketflex(*words: str, status: int) -> tuple[str, str]:
    """Run the command; returns what it wrote to stdout and to stderr."""
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr or "--traceback" in words
    return done.stdout, done.stderr


def items(*values: Any) -> str:
    return f"items={json.dumps(values)}"


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What is said of a call that is refused before anything runs."""
    try:
        status = cli.main(words)
    except SystemExit as error:  # argparse's own way out
        status = int(str(error.code))
    finally:
        for name in ("work", "edges"):
            sys.modules.pop(name, None)
    said = capsys.readouterr()
    assert status == 2
    assert said.out == ""
    assert said.err.startswith("pocketflex: error: ")
    return said.err.removeprefix("pocketflex: error: ")


def test_run_prints_the_flows_output_then_a_summary() -> None:
    out, err = pocketflex("run", "work.py", "--workers", "2", status=0)
    assert out == "doubled: [2, 4, 6]\n"
    assert "node Double  3 items" in err
    assert "2 workers, none failed" in err
    assert "parallel-batch: 3 items in " in err


@pytest.mark.parametrize("model", ["run", "batch", "parallel-batch", "async", "async-batch", "async-parallel-batch"])
def test_every_model_gives_the_same(model: str) -> None:
    out, err = pocketflex("run", "work:flow", "--model", model, "--set", items(4, "ab"), status=0)
    assert out == "doubled: [8, 'abab']\n"
    assert f"{model}: 2 items" in err


@pytest.mark.parametrize(("model", "apart"), [("run", False), ("batch", False), ("parallel-batch", True)])
def test_items_run_in_worker_processes_where_the_model_says_so(model: str, apart: bool) -> None:
    pocketflex("run", "work.py", "--model", model, "--set", items("process"), "--output", "out.json", status=0)
    state = json.loads(Path("out.json").read_text())
    assert (state["doubled"] != [state["pid"]]) is apart


def test_set_wins_over_input_and_the_output_is_json() -> None:
    Path("in.json").write_text('{"items": [5], "kept": {"a": null}, "text": "old"}')
    words = ("--input", "in.json", "--set", "text=new words", "--set", "list=[1, 2]", "--output", "out.json")
    pocketflex("run", "work.py", *words, status=0)
    state = json.loads(Path("out.json").read_text())
    del state["pid"]
    assert state == {"items": [5], "kept": {"a": None}, "text": "new words", "list": [1, 2], "doubled": [10]}


def test_an_output_that_json_cannot_hold_is_written_with_a_warning() -> None:
    _, err = pocketflex("run", "work.py", "--set", items("opaque"), "--model", "run", "--output", "out.json", status=0)
    assert "warning: JSON cannot hold shared['doubled'][0] (function): its repr was written" in err
    assert "<function" in Path("out.json").read_text()


@pytest.mark.parametrize("model", ["batch", "parallel-batch"])
def test_an_item_that_raises_is_explained_in_a_few_lines(model: str) -> None:
    out, err = pocketflex("run", "work.py", "--model", model, "--set", items(1, 2, "bad"), status=1)
    line = WORK.splitlines().index('        raise ValueError("this is bad")') + 1
    assert out == ""
    assert err.splitlines() == [
        "pocketflex: error: ValueError: this is bad",
        "  node Double, item 2, attempt 1",
        f"  at work.py:{line} in work",
        "  (--traceback shows the whole traceback)",
    ]


def test_the_whole_traceback_on_request() -> None:
    _, err = pocketflex("run", "work.py", "--traceback", "--set", items("bad"), status=1)
    assert "Traceback (most recent call last)" in err
    assert "in exec_item\n    return work(item)" in err
    assert "pocketflex: error: ValueError: this is bad" in err.splitlines()[-3:]


def test_a_node_that_raises_is_explained() -> None:
    _, err = pocketflex("run", "edges.py:Prep", status=1)
    assert err.startswith("pocketflex: error: JSONDecodeError: Expecting property name")
    assert "node Prep, prep" in err
    assert "at edges.py:7 in prep" in err


def test_a_batch_of_what_is_no_items() -> None:
    _, err = pocketflex("run", "edges.py:NotIterable", status=1)
    assert "TypeError: node NotIterable: the items of a batch must be iterable, not int (3)" in err


def test_an_item_that_exits_is_a_failure_and_not_the_end() -> None:
    for model in ("batch", "parallel-batch"):
        _, err = pocketflex("run", "work.py", "--model", model, "--set", items("exit"), status=1)
        assert "pocketflex: error: SystemExit: 3" in err


@pytest.mark.parametrize("model", ["batch", "parallel-batch"])
def test_collected_failures_are_told(model: str) -> None:
    words = ("--model", model, "--on-error", "collect", "--output", "out.json", "--set", items(1, "bad", 2))
    _, err = pocketflex("run", "work.py", *words, status=1)
    assert "1 failed" in err
    assert "the first failure is item 1: ValueError: this is bad" in err
    assert json.loads(Path("out.json").read_text())["doubled"][1]["error"] == "ValueError: this is bad"


def test_failures_of_a_comparison_are_told() -> None:
    out, _ = pocketflex("compare", "work.py", "--on-error", "collect", "--set", items(1, "bad", 2), status=1)
    assert "3 items, 1 worker, 1 failed" in out
    assert "the first failure is item 1: ValueError: this is bad" in out


def test_skipped_failures_are_told() -> None:
    out, err = pocketflex("run", "work.py", "--on-error", "skip", "--set", items(1, "bad", 2), status=1)
    assert out == "doubled: [2, 4]\n"
    assert "node Double: 1 of 3 items failed and were skipped; the first is item 1: ValueError: this is bad" in err


def test_a_result_that_cannot_be_pickled_names_its_item() -> None:
    Path("lock.py").write_text(WORK.replace("lambda: 0", "__import__('threading').Lock()"))
    _, err = pocketflex("run", "lock.py", "--set", items(1, "opaque"), status=1)
    assert "pickle" in err
    assert "node Double, item 1" in err


def test_a_module_that_only_the_workers_fail_to_import_shows_where() -> None:
    first = "import os\nif os.path.exists('mark'):\n    raise RuntimeError('again')\nopen('mark', 'w').close()\n"
    Path("once.py").write_text(first + WORK)
    _, err = pocketflex("run", "once:flow", status=1)
    assert "PayloadError: node Double: its function cannot be loaded in a worker: RuntimeError: again" in err
    assert "at once.py:3 in <module>" in err


def test_an_unknown_action_lists_the_known_ones() -> None:
    _, err = pocketflex("run", "work.py", "--set", "action=shwo", status=1)
    assert "UnknownActionError: node Double: post returned the action 'shwo'" in err
    assert "'default', 'show'" in err


def test_a_flow_without_a_start() -> None:
    _, err = pocketflex("run", "edges.py:empty", status=2)
    assert "start" in err


def test_an_async_flow_under_a_sync_model() -> None:
    _, err = pocketflex("run", "edges.py:async_flow", "--model", "batch", status=2)
    assert "async" in err


def test_ctrl_c_ends_with_one_line() -> None:
    os.mkfifo("begun")
    os.mkfifo("never")
    words = command("run", "work.py", "--set", items(1, "wait", 2))
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert Path("begun").read_text() == "x"  # opening a fifo waits until the item opens it
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "pocketflex: interrupted\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    with subprocess.Popen(command("--help"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, err = process.communicate(timeout=20)
    assert err == b""


def test_compare_equal() -> None:
    out, err = pocketflex("compare", "work.py", "--workers", "2", status=0)
    lines = out.splitlines()
    assert lines[0] == "doubled: [2, 4, 6]"
    assert lines[1].startswith("batch ")
    assert lines[2].startswith("parallel-batch ")
    assert lines[3].startswith("speed-up ")
    assert lines[4:] == ["equal"]
    assert err == ""


def test_compare_of_an_async_flow_with_nan_prints_once() -> None:
    out, _ = pocketflex("compare", "edges.py:async_flow", status=0)
    assert out.count("once") == 1
    assert "async-parallel-batch" in out
    assert out.endswith("equal\n")


def test_compare_not_equal_says_where() -> None:
    out, _ = pocketflex("compare", "work.py", "--set", items(1, "process"), status=1)
    assert "NOT EQUAL: the final shared states differ\n  shared['doubled'][1]: " in out


def test_the_example_over_a_folder(folder: Path) -> None:
    out, err = pocketflex("compare", "pocketflex.examples.complexity", "--set", f"path={folder}", status=0)
    assert "2 files, " in out
    assert "work.py:" in out
    assert out.endswith("equal\n")
    assert err == ""


def test_version_and_help() -> None:
    assert pocketflex("--version", status=0)[0].startswith("pocketflex ")
    out, _ = pocketflex("--help", status=0)
    assert "pocketflex run pocketflex.examples.complexity" in out
    assert "compare" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("rnu", "work.py"), "did you mean run?"),
        (("run",), "the following arguments are required: TARGET"),
        (("run", "work.py", "--model", "paralel-batch"), "did you mean parallel-batch?"),
        (("run", "work.py", "--worker", "3"), "did you mean --workers?"),
        (("compare", "work.py", "--model", "run"), "only `pocketflex run` has it"),
        (("compare", "work.py", "--output", "x.json"), "only `pocketflex run` has it"),
        (("run", "."), "is a folder: name a Python file in it"),
        (("run", "work.py", "--workers", "0"), "--workers 0: it must be a whole number, at least 1"),
        (("run", "work.py", "--workers", "two"), "argument --workers: invalid int value: 'two'"),
        (("run", "work.py", "--timeout", "-1"), "--timeout -1.0: it must be a number of seconds above 0"),
        (("run", "work.py", "--on-error", "ignore"), "invalid choice: 'ignore'"),
        (("run", "work.py", "--executor", "procesess"), "executor"),
        (("run", "work.py", "--set", "value"), "argument --set: 'value' must be written as key=value"),
        (("run", "work.py", "--input", "nowhere.json"), "nowhere.json cannot be read: No such file"),
        (("run", "work.py", "--input", "work.py"), "work.py is not valid JSON"),
        (("run", "work.py", "--output", "nowhere/out.json"), "nowhere/out.json cannot be written"),
        (("run", "wrok.py"), "wrok.py does not exist; did you mean work.py?"),
        (("run", "work.py:flwo"), "there is no 'flwo' in work.py. Did you mean flow?"),
        (("run", "edges.py"), "there are 2 flows in edges.py; say which one: edges.py:empty, edges.py:async_flow"),
    ],
)
def test_a_wrong_call_is_refused_with_a_remedy(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert message in refused(capsys, *words)


def test_a_target_that_does_not_load_shows_where() -> None:
    Path("broken.py").write_text("import pocketflex\n\n1 / 0\n")
    _, err = pocketflex("run", "broken.py", status=2)
    assert err.splitlines()[:3] == [
        "pocketflex: error: broken.py cannot be loaded",
        "  ZeroDivisionError: division by zero",
        "  at broken.py:3 in <module>",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a=1", ("a", 1)), ("a=", ("a", "")), ("a=x=y", ("a", "x=y")), ('a={"b": null}', ("a", {"b": None}))],
)
def test_settings(text: str, expected: tuple[str, Any]) -> None:
    assert cli.setting(text) == expected


def test_a_journal_takes_up_where_the_last_command_ended() -> None:
    """Status 2 where the journal is that of other work."""
    run = ["run", "work.py:flow", "--resume", "run.journal", "--executor", "serial", "--set"]
    pocketflex(*run, items(1, 2, "bad", 4), status=1)
    _, said = pocketflex(*run, items(1, 2, "bad", 4), "--on-error", "skip", status=1)
    assert "1 failed, 2 from the journal" in said
    _, said = pocketflex(*run, items(1, 3), status=2)
    assert "run.journal: node Double had 4 items and has 2 now: give another path" in said
    _, said = pocketflex("run", "work.py:flow", "--resume", "", status=2)
    assert "error: --resume '': it must be the path of a file" in said
