"""Calls of one item: no job is begun for them, and nobody can tell the difference."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pocketflex as pf
from pocketflex._engine.by_value import ship_by_value
from pocketflex._engine.errands import Errands, Lost
from pocketflex._engine.home import shared_pool
from pocketflex._engine.pool import Pool

ship_by_value(sys.modules[__name__])

Script = subprocess.CompletedProcess[str]
RunScript = Callable[..., Script]


class Point:
    def __init__(self, x: Any) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return type(other) is Point and other.x == self.x


class Number(int):
    pass


class Unpicklable:
    def __reduce__(self) -> Any:
        raise RuntimeError("not this one")


class Unreadable:
    def __reduce__(self) -> Any:
        return int, ("not a number",)


class UnreadableHere:
    """Can be loaded where it was made, and nowhere else."""

    def __reduce__(self) -> Any:
        return _load_in, (os.getpid(),)


def _load_in(pid: int) -> Any:
    if os.getpid() != pid:
        raise RuntimeError("not here")
    return UnreadableHere()


def same(item: Any) -> Any:
    return item


def exits(_item: Any) -> None:
    os._exit(3)


def divide(item: int) -> float:
    return 1 / item


@pytest.fixture
def no_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm pool that refuses to begin a job."""
    pf.parallel_map(same, range(4), max_workers=2)

    def refuse(*_args: Any) -> None:
        raise AssertionError("a job has been begun")

    monkeypatch.setattr(Pool, "open", refuse)


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A warm pool; how its errands end is noted."""
    pf.parallel_map(same, range(4), max_workers=2)
    noted: list[Any] = []
    run = Errands.run

    def note(self: Errands, errand: Any) -> Any:
        noted.append(run(self, errand))
        return noted[-1]

    monkeypatch.setattr(Errands, "run", note)
    return noted


VALUES = [
    0, -1, 2**62, 2**63, 10**30, True, None, 1.5, -0.0, float("inf"), "", "snow ☃", "\udc80", b"", b"\0" * 3000,
    "x" * 3000, (1, "a"), [1, [2]], {"a": {1}}, Number(3), Point(4), 3j, range(3), "x" * 100_000,
    b"y" * 5_000_000, list(range(10_000)),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}-{value!r:.12}")
@pytest.mark.parametrize("box", [list, tuple], ids=["list", "tuple"])
def test_what_arrives_is_what_was_sent(value: Any, box: type) -> None:
    pf.parallel_map(same, range(4), max_workers=2)
    (result,) = pf.parallel_map(same, box([value]))
    assert type(result) is type(value)
    assert result == value
    assert not isinstance(value, float) or str(result) == str(value)  # -0.0 is not 0.0


@pytest.mark.usefixtures("no_jobs")
@pytest.mark.parametrize("item", [3, "a", 2.5, b"b", None, True, (1, 2), {"a": [1]}])
@pytest.mark.parametrize("door", [pf.parallel_map, pf.parallel_imap], ids=["map", "imap"])
def test_no_job_is_begun(door: Any, item: Any) -> None:
    assert list(door(same, [item])) == [item]
    assert list(door(lambda given: [given, "x" * 100_000], [item])) == [[item, "x" * 100_000]]
    assert list(door(lambda _item: np.arange(5.0).sum(), [item])) == [10.0]
    assert (next(iter(door(lambda _item: np.arange(20_000), [item]))) == np.arange(20_000)).all()


@pytest.mark.usefixtures("no_jobs")
def test_a_range_of_one_item_is_a_call_of_one_item() -> None:
    assert pf.parallel_map(same, range(7, 8)) == [7]


@pytest.mark.usefixtures("no_jobs")
def test_one_row_of_an_array_of_results() -> None:
    found = pf.parallel_map(same, [5], output="array")
    assert (found.dtype, found.tolist()) == (np.int64, [5])
    assert pf.parallel_map(lambda _item: np.ones(3), [5], output="array").tolist() == [[1.0, 1.0, 1.0]]


@pytest.mark.usefixtures("no_jobs")
def test_the_exception_arrives_as_itself() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        pf.parallel_map(divide, [0])
    assert caught.value.__notes__ == ["parallel_map(divide), item 0, attempt 1"]
    assert "in divide" in str(caught.value.__cause__)


@pytest.mark.usefixtures("no_jobs")
def test_attempts_and_the_fallback_are_those_of_a_batch() -> None:
    class Stubborn(pf.BatchNode):
        def prep(self, shared: Any) -> Any:
            return [1]

        def exec_item(self, item: Any) -> Any:
            raise ValueError(item)

        def exec_fallback(self, item: Any, error: Exception) -> Any:
            return item, str(error)

        def post(self, shared: Any, items: Any, results: Any) -> Any:
            return "done", {"results": results}

    flow = pf.Flow(start=Stubborn(max_retries=3))
    assert pf.run_parallel_batch(flow, {})["results"] == pf.run_batch(flow, {})["results"]


def _message(items: list[Any], function: Callable[[Any], Any]) -> tuple[str, str, int]:
    failure = pf.parallel_map(function, items, on_error="collect", max_workers=2)[0]
    return str(failure.error), failure.kind, failure.attempts


@pytest.mark.parametrize(
    ("item", "function"),
    [
        (Unpicklable(), same),
        (Unreadable(), same),
        (1, lambda _item: Unpicklable()),
        (1, lambda _item: UnreadableHere()),
        (1, lambda _item: threading.Lock()),
        (1, exits),
        (1, lambda _item: sys.exit(4)),
        (0, divide),
    ],
    ids=["unpicklable", "unreadable", "result", "result-here", "lock", "exits", "sys.exit", "raises"],
)
def test_what_fails_is_said_as_in_a_call_of_two(item: Any, function: Callable[[Any], Any]) -> None:
    pf.parallel_map(same, range(4), max_workers=2)
    assert _message([item], function) == _message([item, 2], function)


@pytest.mark.parametrize(("crash_retries", "times"), [(0, 1), (1, 2), (2, 3)])
def test_an_item_that_ends_its_worker_is_tried_so_often(
    crash_retries: int, times: int, lost: list[Any], tmp_path: Path
) -> None:
    def crash(path: str) -> None:
        with open(path, "a") as file:
            file.write("x")
        os._exit(3)

    path = str(tmp_path / "times")
    (failure,) = pf.parallel_map(crash, [path], crash_retries=crash_retries, on_error="collect")
    assert isinstance(failure.error, pf.WorkerDiedError)
    assert str(failure.error) == "item 0 ended its worker process: exit code 3"
    assert (failure.attempts, len(Path(path).read_text())) == (times, times)
    assert [ended.death.code for ended in lost] == [3]
    assert pf.parallel_map(divide, [4]) == [0.25]


def test_an_item_that_ends_one_worker_is_run_by_another(lost: list[Any], tmp_path: Path) -> None:
    def crash_once(path: str) -> str:
        if not os.path.exists(path):
            Path(path).touch()
            os.kill(os.getpid(), 9)
        return "fine"

    assert pf.parallel_map(crash_once, [str(tmp_path / "there")]) == ["fine"]
    assert [ended.death.code for ended in lost] == [-9]


def test_a_function_that_cannot_be_loaded_is_named(lost: list[Any]) -> None:
    class Loads:
        def __reduce__(self) -> Any:
            return int, ("not a number",)

        def __call__(self, item: Any) -> Any:
            return item

    with pytest.raises(pf.PayloadError, match="its function cannot be loaded in a worker: ValueError"):
        pf.parallel_map(Loads(), [1])
    assert lost == [Lost()]


def test_a_function_that_comes_by_value_is_new_in_each_call() -> None:
    def count(item: int, seen: list[int] = []) -> int:  # noqa: B006  # that is what is tested
        seen.append(item)
        return len(seen)

    pf.parallel_map(same, range(4), max_workers=2)
    assert [pf.parallel_map(count, [1]) for _ in range(5)] == [[1]] * 5


@pytest.mark.usefixtures("no_jobs")
def test_a_call_stands_where_its_caller_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POCKETFLEX_TEST_ERRAND", "seen")
    assert pf.parallel_map(lambda name: (os.getcwd(), os.environ.get(name)), ["POCKETFLEX_TEST_ERRAND"]) == [
        (str(tmp_path), "seen")
    ]


def test_calls_of_threads_and_jobs_beside_them_have_their_own_results() -> None:
    pf.parallel_map(same, range(4), max_workers=2)
    wrong: list[Any] = []

    def call(first: int) -> None:
        for number in range(first, first + 150):
            if pf.parallel_map(lambda item: item * 2, [number]) != [number * 2]:
                wrong.append(number)
            if number % 10 == 0 and pf.parallel_map(same, range(number, number + 9)) != [*range(number, number + 9)]:
                wrong.append(number)

    threads = [threading.Thread(target=call, args=(first,)) for first in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_long_item_is_waited_for_without_spinning(lost: list[Any], tmp_path: Path) -> None:
    def block(path: str) -> int:
        with open(path) as file:  # until somebody writes
            return len(file.read())

    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(pf.parallel_map(block, [path])))
    thread.start()
    with open(path, "w") as file:  # it is being run
        pf.parallel_map(divide, [1])  # by the other worker
        pf.parallel_map(divide, [1, 2])  # and a job beside it
        file.write("four")
    thread.join()
    assert found == [[4]]
    assert Lost() not in lost


def test_shutting_the_pool_down_ends_a_call(tmp_path: Path) -> None:
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    pf.parallel_map(same, range(4), max_workers=2)
    raised: list[BaseException] = []

    def call() -> None:
        try:
            pf.parallel_map(lambda path: open(path).read(), [path])  # noqa: SIM115  # it never returns
        except pf.WorkerDiedError as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    with open(path, "w"):
        pf.shutdown()
        thread.join()
    assert "shut down while the call ran" in str(raised[0])


def test_ctrl_c_ends_a_call_and_its_item(run_script: RunScript) -> None:
    """The item would never end, its worker is killed, and the pool works."""
    done = run_script("""
import os, signal, pocketflex as pf
from pocketflex._engine.home import shared_pool
def item(pid):
    os.kill(pid, signal.SIGINT)
    while True: pass
pf.parallel_map(abs, range(4), max_workers=2)
for _ in range(3):
    try:
        pf.parallel_map(item, [os.getpid()])
    except KeyboardInterrupt:
        print("interrupted")
    assert not any(member.hatch.errand for member in shared_pool()._crew)
    print(pf.parallel_map(abs, [-1]), pf.parallel_map(abs, [-1, -2]))
""")
    assert (done.stdout, done.stderr) == ("interrupted\n[1] [1, 2]\n" * 3, "")


def test_ctrl_c_at_any_moment_loses_no_worker(run_script: RunScript) -> None:
    done = run_script("""
import os, signal, pocketflex as pf
from pocketflex._engine.home import shared_pool
pf.parallel_map(abs, range(4), max_workers=2)
signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
def attempt(number):
    signal.setitimer(signal.ITIMER_REAL, 1e-6 + number * 0.5e-6)
    for _ in range(5): assert pf.parallel_map(abs, [-number]) == [number]
    while signal.getitimer(signal.ITIMER_REAL)[0]: pass
    int()  # what has been raised is raised by now
hits = 0
for number in range(400):
    try:
        attempt(number)  # one instruction: Ctrl-C between two of them may find no `except`
    except KeyboardInterrupt:
        hits += 1
assert pf.parallel_map(abs, [-1]) == [1]
errands = [member.hatch.errand for member in shared_pool()._crew]
print(hits > 300 or hits, any(errands))
""")
    assert (done.stdout, done.stderr) == ("True False\n", "")


class SlowToLoad:
    """Loads in one worker, the first, only once somebody has written to a pipe."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, item: int) -> int:
        return item

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        try:
            os.close(os.open(f"{self.folder}/first", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        with open(f"{self.folder}/pipe") as pipe:
            pipe.read()


def test_a_worker_that_loads_a_callable_is_not_idle(lost: list[Any], tmp_path: Path) -> None:
    """The job is over long before: the other worker has run it."""
    os.mkfifo(tmp_path / "pipe")
    pf.parallel_map(SlowToLoad(str(tmp_path)), range(4), max_workers=2)
    assert [pf.parallel_map(divide, [number]) for number in (1, 2, 4)] == [[1.0], [0.5], [0.25]]
    with open(tmp_path / "pipe", "w"):  # it has been loading all the time
        assert Lost() not in lost


def test_a_call_stands_where_its_caller_does_though_others_stand_elsewhere(tmp_path: Path) -> None:
    """One worker is late with an item and its surroundings, and many others come and go meanwhile."""
    folders = [tmp_path / str(number) for number in range(40)]
    for folder in folders:
        folder.mkdir()
    told, path = tmp_path / "told", str(tmp_path / "fifo")
    for name in (told, path):
        os.mkfifo(name)

    def block(_item: int) -> None:
        told.write_text(str(os.getpid()))
        Path(path).read_text()

    pids: set[int] = set()
    while len(pids) < 2:
        pids |= set(pf.parallel_map(lambda _item: os.getpid(), range(8), max_workers=2, chunksize=1))
    found: list[Any] = []
    busy = threading.Thread(target=pf.parallel_map, args=(block, [0]))
    waits = threading.Thread(target=lambda: found.append(pf.parallel_map(where, [0])))
    here = os.getcwd()
    os.chdir(folders[0])
    busy.start()
    (late,) = pids - {int(told.read_text())}
    try:
        os.kill(late, signal.SIGSTOP)
        waits.start()
        while calls_under_way() < 2:
            pass
        Path(path).write_text("go on")
        busy.join()
        for folder in folders[1:]:
            os.chdir(folder)
            assert pf.parallel_map(where, [0]) == [str(folder)]
    finally:
        os.chdir(here)
        os.kill(late, signal.SIGCONT)
    waits.join()
    assert found == [[str(folders[0])]]


def calls_under_way() -> int:
    """Errands, and jobs that were to be errands, as when a worker was still at something else."""
    pool = shared_pool()
    return sum(member.hatch.errand != 0 for member in pool._crew) + len(pool._jobs)


def where(_item: int) -> str:
    return os.getcwd()


def test_a_job_does_not_wait_for_an_errand_while_another_worker_is_idle(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    pf.parallel_map(same, range(4), max_workers=2)
    for _ in range(20):
        thread = threading.Thread(target=pf.parallel_map, args=(Path.read_text, [path]))
        thread.start()
        while not calls_under_way():
            pass
        assert pf.parallel_map(same, [1], timeout=60) == [1]  # with a timeout it is a job
        path.write_text("done")
        thread.join()


def test_a_large_result_is_not_kept_by_its_worker() -> None:
    def size(_item: int) -> int:
        gc.collect()
        with open("/proc/self/smaps_rollup") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))

    pf.parallel_map(same, range(4), max_workers=1)
    before = pf.parallel_map(size, [0], max_workers=1)[0]
    assert len(pf.parallel_map(lambda _item: b"x" * 300_000_000, [0], max_workers=1)[0]) == 300_000_000
    assert pf.parallel_map(size, [0], max_workers=1)[0] - before < 100_000  # KB


def test_memory_of_large_callables_does_not_wait_for_a_worker_that_is_busy(
    shared_bytes: Callable[[], int], tmp_path: Path
) -> None:
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    pf.parallel_map(same, range(4), max_workers=2)
    stream = pf.parallel_imap(lambda path: path and open(path).read(), [path, "", ""], max_workers=2, ordered=False)  # noqa: SIM115
    next(stream)
    for number in range(6):
        data = np.full(4_000_000, number)
        assert pf.parallel_map(partial(np.sum, data), [None, None]) == [number * 4_000_000] * 2
    held = shared_bytes()
    with open(path, "w"):
        pass
    stream.close()
    assert held < 80_000_000  # of 192 MB
