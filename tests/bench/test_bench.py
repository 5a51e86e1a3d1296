"""The benchmark itself: it judges rightly, and a small run ends with a table, figures and no process left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

TOP = Path(__file__).parents[2]
sys.path.insert(0, str(TOP))
try:
    from bench import __main__ as command
    from bench import report, workloads
    from bench.figures import Entry, Status, best_of, ratio
    from bench.loads.functions import burn, sum_of_squares
    from bench.loads.load import Kind, Load
    from bench.messages import Form, Setting
    from bench.peers import PEERS
    from bench.peers.peer import bounds, cut, join
    from bench.plot import speed_ups
    from bench.pss import Growth
    from bench.targets import TARGETS, Rule, State, Target, judge, judge_all
finally:
    sys.path.remove(str(TOP))

MACHINE = {"cpus": 2, "system": "Linux", "python": "3.11", "native core": True}


def table(**figures: list[float]) -> dict[str, Entry]:
    return {name: Entry("form", values) for name, values in figures.items()}


def test_ratios_are_taken_within_rounds() -> None:
    """A round in which the machine was slow for both does not count against either."""
    assert ratio(Entry("", [2.0, 20.0, 2.0]), Entry("", [1.0, 10.0, 4.0])) == 2.0


def test_the_best_rival_has_the_lowest_median_of_those_that_came_through() -> None:
    entries = table(pool=[3.0], executor=[2.0], joblib=[1.0], ray=[])
    entries["joblib"].fail("crashed")
    assert best_of(entries, ("pool", "executor", "joblib", "ray", "dask")) == "executor"
    assert best_of(entries, ("joblib", "ray")) is None


@pytest.mark.parametrize(
    ("rule", "bound", "figure", "state"),
    [
        (Rule.TIMES, 2.0, 2.0, State.MET),
        (Rule.TIMES, 2.1, 2.0, State.MISSED),
        (Rule.SHARE, 0.5, 0.5, State.MET),
        (Rule.SHARE, 0.4, 0.5, State.MISSED),
        (Rule.ABSOLUTE, 1.0, 1.0, State.MET),
        (Rule.ABSOLUTE, 0.9, 1.0, State.MISSED),
    ],
)
def test_a_target_is_met_or_missed(rule: Rule, bound: float, figure: float, state: State) -> None:
    rivals = () if rule is Rule.ABSOLUTE else ("pool", "serial")
    target = Target("W1", bound, rivals, "the rivals", rule=rule)
    verdict = judge(target, {"W1": table(pocketflex=[1.0], serial=[3.0], pool=[2.0])})
    assert (verdict.figure, verdict.state) == (figure, state)


@pytest.mark.parametrize("missing", ["the workload", "pocketflex", "the rival", "the option"])
def test_a_target_without_figures_is_not_measured(missing: str) -> None:
    entries = table(pocketflex=[1.0], serial=[3.0])
    if missing == "the rival":
        del entries["serial"]
    if missing == "pocketflex":
        del entries["pocketflex"]
    if missing == "the option":
        entries["pocketflex"].fail("unknown option", Status.LACKING)
    tables = {} if missing == "the workload" else {"W1": entries}
    assert judge(Target("W1", 1.0, ("serial",), "the loop"), tables).state is State.UNMEASURED


def test_targets_and_workloads_name_what_exists() -> None:
    for target in TARGETS:
        taking_part = workloads.WORKLOADS[target.work].peers
        assert target.own in taking_part
        assert target.rule is Rule.ABSOLUTE or set(target.rivals) & set(taking_part)
    assert all(set(work.peers) <= set(PEERS) for work in workloads.WORKLOADS.values())


def test_the_report_has_every_target_and_failure() -> None:
    tables = {"W1": table(pocketflex=[1.0], serial=[1.1], pool=[6.0], ray=[])}
    tables["W1"]["ray"].fail("ended with -9")
    text = report.to_markdown(tables, MACHINE, 5, False)
    assert "Targets: 2 met, 0 missed, 1 not measured." in text
    assert "- W1, Ray: ended with -9" in text
    figures = report.to_json(tables, MACHINE, 5, False)
    assert len(figures["targets"]) == len(TARGETS) == len(judge_all(tables))
    assert figures["workloads"]["W1"]["peers"]["pool"]["median"] == 6.0
    assert json.loads(json.dumps(figures)) == figures


def test_the_picture_shows_speed_ups_where_there_is_a_loop() -> None:
    assert speed_ups(table(pocketflex=[0.5], serial=[1.0])) == {"pocketflex": 2.0}
    assert speed_ups(table(pocketflex=[0.5])) == {}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [([], list(workloads.WORKLOADS)), (["W2", "W1"], ["W1", "W2"]), (["W7"], ["W7i", "W7o"]), (["W6n"], None)],
)
def test_workloads_are_selected(wanted: list[str], found: list[str] | None) -> None:
    assert workloads.select(wanted) == (found or ["W6n", "W6n-cold"])


def test_an_unknown_workload_or_peer_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--only", "W99"], ["--peers", "celery"]):
        with pytest.raises(SystemExit):
            command.parse(arguments)
    assert "no workload 'W99'" in capsys.readouterr().err


def test_a_wrong_answer_is_found() -> None:
    load = Load(burn, lambda setting: [1, 2, 3], Kind.BUSY, oracle=sum_of_squares)
    items = load.make(Setting(True, 1))
    load.verify(items, [0, 1, 5])
    for results in ([0, 1], [0, 1, 6], [0, 1.0, 5]):
        with pytest.raises(ValueError, match="result"):
            load.verify(items, results)


def test_chunks_cover_everything_once() -> None:
    assert join(cut(list(range(10)), 4)) == list(range(10))
    assert bounds(10, 4) == [(0, 4), (4, 8), (8, 10)]
    assert (str(Form("map", 8)), str(Form("loop"))) == ("map 8", "loop")


def test_growth_sees_memory_that_is_gone_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TOP))
    with Growth() as growth:
        kept = b"x" * 50_000_000
        del kept
        kept = b"y" * 50_000_000
    assert len(kept) == 50_000_000
    assert 45e6 < growth.bytes < 130e6


def test_a_small_run_writes_table_and_figures(tmp_path: Path) -> None:
    arguments = ["--quick", "--only", "W2,W8", "--peers", "serial,pool", "--results", str(tmp_path), "--name", "test"]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=TOP,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "| W2 `x * x`, 1 M ints | >= 1.05x the loop |" in done.stdout
    assert (tmp_path / "test.md").read_text() == done.stdout
    figures = json.loads((tmp_path / "test.json").read_text())
    peers = figures["workloads"]["W2"]["peers"]
    assert [peers[name]["status"] for name in ("serial", "pool", "pocketflex")] == ["fine"] * 3, done.stderr
    assert len(peers["pool"]["figures"]) == 2
    assert figures["workloads"]["W8"]["peers"]["pocketflex"]["median"] > 0


KILLED = """
import os, signal, sys
from bench.lane import Lane
from bench.messages import Form, Setting, Turn
lane = Lane("pocketflex")
lane.ask(Turn("W8", Form("parallel_map"), False, Setting(True, 1)), 60)
tree = [process.pid for process in lane._tree()]
print(*tree, flush=True)
if sys.argv[1] == "stopping":
    for number in (signal.SIGCONT, signal.SIGSTOP):
        for pid in tree:
            os.kill(pid, number)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("when", ["stopped", "stopping"])
def test_a_race_that_is_killed_leaves_no_lane_behind(when: str) -> None:
    """Its lanes are stopped, workers and all, or about to be."""
    done = subprocess.run([sys.executable, "-c", KILLED, when], cwd=TOP, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    processes = []
    for pid in map(int, done.stdout.split()):
        with suppress(psutil.NoSuchProcess):
            processes.append(psutil.Process(pid))
    _, left = psutil.wait_procs(processes, timeout=10)
    alive = [process for process in left if process.status() != psutil.STATUS_ZOMBIE]  # whom init has yet to reap
    for process in alive:
        process.kill()
    assert alive == []
    assert len(done.stdout.split()) >= 3  # the runner, the spawner, a worker
