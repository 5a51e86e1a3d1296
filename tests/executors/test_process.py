"""What only worker processes have: where functions come from, deaths, hangs, and the parent's end."""

from __future__ import annotations

import itertools
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import psutil
import pytest

import pocketflex as pf
from pocketflex._engine.by_value import ship_by_value

ship_by_value(sys.modules[__name__])  # pytest loads this file by its path, so workers cannot import it

LONG = 10.0  # seconds: a wait that is over long before, unless something is wrong
HOWS = ("file", "-c", "stdin")
Script = subprocess.CompletedProcess[str]
RunScript = Callable[..., Script]
StartScript = Callable[..., "subprocess.Popen[str]"]


def whoami(_item: Any = None) -> int:
    return os.getpid()


def double(x: int) -> int:
    return 2 * x


def spawner_and_workers(parent: int | None = None) -> tuple[psutil.Process, list[psutil.Process]]:
    (spawner,) = [child for child in psutil.Process(parent).children() if "pocketflex" in " ".join(child.cmdline())]
    return spawner, spawner.children()


def done(script: Script) -> str:
    """The output of a script that must have gone well, without a word on its stderr."""
    assert (script.returncode, script.stderr) == (0, ""), script.stderr
    return script.stdout


class Gate:
    """Lets the test know that an item has begun, and holds the item until the test opens it. Two fifos.

    The test keeps both ends of both open, so that no opening waits for another and none reads an end.
    """

    def __init__(self, folder: Path) -> None:
        self.paths = str(folder / "begun"), str(folder / "open")
        for path in self.paths:
            os.mkfifo(path)
        self.begun, self.opened = (os.open(path, os.O_RDWR) for path in self.paths)

    def __getstate__(self) -> dict[str, Any]:
        return {"paths": self.paths}

    def enter(self, word: Any = "") -> None:
        """In the item."""
        with open(self.paths[0], "w") as fifo:
            fifo.write(f"{word}\n")
        with open(self.paths[1], "rb", buffering=0) as fifo:
            fifo.read(1)

    def await_item(self) -> str:
        ready, _, _ = select.select([self.begun], [], [], LONG)
        assert ready, "the item does not begin"
        return os.read(self.begun, 100).decode().strip()

    def let_go(self) -> None:
        os.write(self.opened, b"x")

    def close(self) -> None:
        os.close(self.begun)
        os.close(self.opened)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path)
    yield gate
    gate.close()


class Thread(threading.Thread):
    """A thread whose result, or exception, `result` gives."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__()
        self._function = function
        self._found: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._found = self._function()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self.join(LONG)
        assert not self.is_alive(), "the thread still waits"
        if self._error is not None:
            raise self._error
        return self._found


# --- where functions and classes come from -------------------------------------------------------

MAIN = """
import pocketflex as pf
from dataclasses import dataclass

FACTOR = 3
calls = []

@dataclass
class Point:
    x: int
    def scaled(self):
        return Point(self.x * FACTOR)

class Broken(Exception):
    def __init__(self, a, b):
        super().__init__(a)
        self.b = b

def scale(point):
    calls.append(point)
    if point.x == 13:
        raise Broken("thirteen", point)
    return point.scaled()

class Scale(pf.BatchNode):
    def prep(self, shared):
        return [Point(1), Point(2)]
    def exec_item(self, item):
        return scale(item)
    def post(self, shared, items, results):
        shared["results"] = results

results = pf.parallel_map(scale, [Point(1), Point(2)], max_workers=2)
assert all(type(result) is Point for result in results), results
assert results == [Point(3), Point(6)], results
assert calls == []
try:
    pf.parallel_map(scale, [Point(13)])
except Broken as error:
    assert error.b == Point(13)
    assert "in scale" in str(error.__cause__)
else:
    raise AssertionError("not raised")
(failure,) = pf.parallel_map(scale, [Point(13)], on_error="collect")
assert type(failure.error) is Broken
offset = 10
assert pf.parallel_map(lambda n: n + offset, range(3)) == [10, 11, 12]
def closure(step):
    def inner(n):
        return n * step
    return inner
assert pf.parallel_map(closure(4), range(3)) == [0, 4, 8]
assert pf.run_parallel_batch(pf.Flow(start=Scale), {})["results"] == [Point(3), Point(6)]
FACTOR = 5
assert Point(1).scaled() == Point(5), "the caller's class no longer sees the caller's globals"
assert pf.parallel_map(scale, [Point(1)]) == [Point(5)]
print("once")
"""


@pytest.mark.parametrize("how", HOWS)
def test_functions_and_classes_of_main_work_without_a_guard(run_script: RunScript, how: str) -> None:
    assert done(run_script(MAIN, how)) == "once\n"


CLASS_STATE = """
import pocketflex as pf

class Counter:
    made = 0
    def __init__(self):
        Counter.made += 1
    def where(self):
        return PLACE

PLACE = "here"
where = Counter.where
def make(_):
    global PLACE
    PLACE = "there"
    return Counter()

results = pf.parallel_map(make, range(3), max_workers=1)
assert all(type(result) is Counter for result in results)
print(Counter.made, Counter.where is where, results[0].where())
"""


def test_results_do_not_change_the_callers_class(run_script: RunScript) -> None:
    assert done(run_script(CLASS_STATE)) == "0 True here\n"


def test_a_module_beside_the_script_is_imported_by_the_workers(run_script: RunScript, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("import os\nPID = os.getpid()\ndef pid(_): return PID, __name__\n")
    script = (
        "import pocketflex as pf, beside, os\nprint(pf.parallel_map(beside.pid, [1])[0][1], beside.PID == os.getpid())"
    )
    for how in HOWS:
        assert done(run_script(script, how)) == "beside True\n"


@pytest.mark.parametrize("flags", [("-Werror",), ("-Xdev",), ("-O",), ("-I",), ("-Xutf8", "-B")], ids="".join)
def test_flags_of_the_interpreter_do_not_disturb(run_script: RunScript, flags: tuple[str, ...]) -> None:
    script = """
import sys, pocketflex as pf
def f(x):
    import sys
    assert x >= 0, "negative"
    return sys.flags.optimize, sys.flags.utf8_mode
found = set(pf.parallel_map(f, range(20), max_workers=2))
assert found == {(sys.flags.optimize, sys.flags.utf8_mode)}, found
print("fine")
"""
    assert done(run_script(script, flags=flags)) == "fine\n"


def test_what_an_item_prints_appears(run_script: RunScript) -> None:
    script = """
import pocketflex as pf, sys
def say(x):
    print(f"item {x}")
    print(f"error {x}", file=sys.stderr)
pf.parallel_map(say, range(3))
"""
    completed = run_script(script)
    assert completed.returncode == 0
    assert sorted(completed.stdout.splitlines()) == ["item 0", "item 1", "item 2"]
    assert sorted(completed.stderr.splitlines()) == ["error 0", "error 1", "error 2"]


# --- the callable -----------------------------------------------------------------------------


class Counted:
    """A callable that counts how often it is pickled."""

    def __init__(self) -> None:
        self.pickled = 0

    def __getstate__(self) -> dict[str, Any]:
        self.pickled += 1
        return {"pickled": self.pickled}

    def __call__(self, item: int) -> int:
        return self.pickled


def test_the_callable_is_pickled_once_a_job() -> None:
    counted = Counted()
    assert set(pf.parallel_map(counted, range(200), max_workers=2, chunksize=1)) == {1}
    assert counted.pickled == 1
    assert set(pf.parallel_map(counted, range(200), max_workers=2)) == {2}


class Remembering(pf.BatchNode):  # type: ignore[type-arg]
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def prep(self, shared: Any) -> range:
        return range(20)

    def exec_item(self, item: int) -> int:
        self.seen.append(item)
        return len(self.seen)

    def post(self, shared: Any, items: Any, results: list[int]) -> None:
        shared["counts"] = results


def test_what_items_change_on_their_node_does_not_outlive_the_call() -> None:
    node = Remembering()
    for _ in range(3):
        counts = pf.run_parallel_batch(node, {}, max_workers=1)["counts"]
        assert min(counts) == 1
        assert max(counts) <= 20
    assert node.seen == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: partial(max, threading.Lock()), ["function", "parallel_map(", "lock"]),
        (lambda: Holder(threading.Lock()).work, ["attribute 'held' (lock)", "__getstate__"]),
        (lambda: Holder(n for n in ()).work, ["attribute 'held' (generator)"]),
    ],
    ids=["default", "attribute", "generator"],
)
def test_a_function_that_cannot_be_sent_is_an_error_that_names_the_part(make: Any, words: list[str]) -> None:
    with pytest.raises(pf.PayloadError) as caught:
        pf.parallel_map(make(), [1])
    for word in words:
        assert word in str(caught.value)


class Holder:
    def __init__(self, held: Any) -> None:
        self.held = held

    def work(self, item: Any) -> Any:
        return item


class LoadsWith:
    """Does something when it is unpickled."""

    def __init__(self, function: Any, *args: Any) -> None:
        self._made_of = function, args

    def __reduce__(self) -> Any:
        return self._made_of

    def __call__(self, item: Any) -> Any:
        return item


def divide(a: int, b: int) -> float:
    return a / b


def test_a_function_that_cannot_be_loaded_is_an_error_with_the_cause() -> None:
    with pytest.raises(pf.PayloadError, match=r"cannot be loaded in a worker: ZeroDivisionError") as caught:
        pf.parallel_map(LoadsWith(divide, 1, 0), range(10))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert pf.parallel_map(double, [1]) == [2]


def test_a_function_that_ends_every_worker_is_given_up() -> None:
    with pytest.raises(pf.WorkerDiedError, match="code 9"):
        pf.parallel_map(LoadsWith(os._exit, 9), range(10), max_workers=2)
    assert pf.parallel_map(double, [1]) == [2]


# --- crashes (tests/faults has every way to fail) --------------------------------------------------


@pytest.mark.parametrize("crash_retries", [0, 1, 2])
def test_an_item_that_crashes_is_tried_again_as_often_as_asked(tmp_path: Path, crash_retries: int) -> None:
    def work(item: int) -> int:
        with open(tmp_path / f"{item}", "a") as log:
            log.write("x")
        if item == 2:
            os._exit(1)
        return item

    found = pf.parallel_map(work, range(4), on_error="collect", crash_retries=crash_retries, chunksize=4)
    assert (found[0], found[1], found[3]) == (0, 1, 3)
    assert found[2].attempts == crash_retries + 1
    assert len((tmp_path / "2").read_text()) == crash_retries + 1


def test_a_crash_that_does_not_happen_again_is_no_failure(tmp_path: Path) -> None:
    def work(item: int) -> int:
        if item == 2 and not (tmp_path / "once").exists():
            (tmp_path / "once").touch()
            os._exit(1)
        return item

    assert pf.parallel_map(work, range(5)) == [0, 1, 2, 3, 4]


def test_many_items_that_crash_are_all_told() -> None:
    """A bounded number of deaths ends a job only where nothing is achieved by them."""

    def work(item: int) -> int:
        if item % 2:
            os._exit(1)
        return item

    found = pf.parallel_map(work, range(24), on_error="collect", crash_retries=0, max_workers=2)
    assert found[::2] == list(range(0, 24, 2))
    assert [one.kind for one in found[1::2]] == ["crashed"] * 12


def test_a_crash_is_raised_as_broken_executor() -> None:
    from concurrent.futures import BrokenExecutor

    with pytest.raises(BrokenExecutor, match="item 0 ended its worker process"):
        pf.parallel_map(lambda _: os._exit(1), [0])


# --- time limits ----------------------------------------------------------------------------------


def test_the_limit_is_for_each_item_and_not_for_their_sum() -> None:
    def work(_item: int) -> None:
        threading.Event().wait(0.05)

    assert pf.parallel_map(work, range(20), timeout=0.5, chunksize=20, max_workers=1) == [None] * 20


# --- workers and the spawner are killed from outside --------------------------------------------


def test_workers_killed_while_idle_are_replaced() -> None:
    pf.parallel_map(double, range(10), max_workers=2)
    _, workers = spawner_and_workers()
    assert len(workers) == 2
    for worker in workers:
        worker.kill()
    psutil.wait_procs(workers, LONG)
    assert pf.parallel_map(double, range(10), max_workers=2) == list(range(0, 20, 2))


def test_a_worker_killed_while_busy_costs_a_try(gate: Gate) -> None:
    def work(item: int) -> int:
        if item == 5:
            gate.enter(os.getpid())
        return item

    call = Thread(lambda: pf.parallel_map(work, range(8), max_workers=2, crash_retries=1))
    os.kill(int(gate.await_item()), signal.SIGKILL)
    gate.await_item()
    gate.let_go()
    assert call.result() == list(range(8))


@pytest.mark.parametrize("workers", [2, 12])
@pytest.mark.parametrize("when", ["idle", "busy"])
def test_a_call_completes_when_the_spawner_is_killed(gate: Gate, when: str, workers: int) -> None:
    assert pf.parallel_map(double, range(10), max_workers=workers) == list(range(0, 20, 2))
    spawner, members = spawner_and_workers()
    if when == "idle":
        spawner.kill()
        psutil.wait_procs([spawner, *members], LONG)
        assert pf.parallel_map(double, range(40), max_workers=workers) == list(range(0, 80, 2))
        return

    def work(item: int) -> int:
        if item == 5:
            gate.enter()
        return item

    call = Thread(lambda: pf.parallel_map(work, range(40), max_workers=workers))
    gate.await_item()
    spawner.kill()
    gate.await_item()
    gate.let_go()
    assert call.result() == list(range(40))
    _, alive = psutil.wait_procs(members, LONG)
    assert alive == []


def test_a_call_can_be_shut_down_from_another_thread(gate: Gate) -> None:
    held = np.zeros(1 << 20)

    def work(_item: Any) -> float:
        gate.enter()
        return float(held[0])

    call = Thread(lambda: pf.parallel_map(work, range(8), max_workers=1))
    gate.await_item()
    pf.shutdown()
    with pytest.raises(pf.WorkerDiedError, match="shut down"):
        call.result()
    assert pf.parallel_map(double, [1]) == [2]


# --- several calls at once ---------------------------------------------------------------------


def test_threads_share_the_workers() -> None:
    def call(offset: int) -> list[int]:
        return pf.parallel_map(lambda x: x + offset, range(300), max_workers=2)

    threads = [Thread(lambda offset=offset: [call(offset) for _ in range(3)]) for offset in range(8)]  # type: ignore[misc]
    for offset, thread in enumerate(threads):
        assert thread.result() == [list(range(offset, 300 + offset))] * 3
    assert len(spawner_and_workers()[1]) <= 2


def test_failures_stay_with_their_call() -> None:
    def fail(offset: int) -> str:
        def work(item: int) -> int:
            if item == offset:
                raise ValueError(f"of call {offset}")
            return item

        with pytest.raises(ValueError, match="of call") as caught:
            pf.parallel_map(work, range(50), max_workers=2)
        return str(caught.value)

    threads = [Thread(lambda offset=offset: fail(offset)) for offset in range(8)]  # type: ignore[misc]
    assert [thread.result() for thread in threads] == [f"of call {offset}" for offset in range(8)]


def test_short_items_do_not_wait_for_the_long_item_of_another_call(gate: Gate) -> None:
    def long(item: int) -> int:
        gate.enter()
        return item

    pf.parallel_map(double, range(10), max_workers=2)
    call = Thread(lambda: pf.parallel_map(long, [7], max_workers=2))
    gate.await_item()
    short = Thread(lambda: pf.parallel_map(double, range(20_000), max_workers=2))
    short.join(LONG)
    is_waiting = short.is_alive()
    gate.let_go()
    assert call.result() == [7]
    assert short.result() == list(range(0, 40_000, 2))
    assert not is_waiting


def test_a_stream_feeds_a_stream() -> None:
    first = pf.parallel_imap(double, itertools.count(), max_workers=2)
    second = pf.parallel_imap(lambda x: x + 1, first, max_workers=2)
    third = pf.parallel_imap(double, second, max_workers=2)
    assert list(itertools.islice(third, 500)) == [2 * (2 * x + 1) for x in range(500)]
    for stream in (third, second, first):
        stream.close()  # type: ignore[attr-defined]


def test_a_call_inside_an_item_runs_there() -> None:
    def outer(x: int) -> tuple[int, set[int], list[int]]:
        return os.getpid(), set(pf.parallel_map(whoami, range(4))), pf.parallel_map(double, range(x))

    for pid, inner, results in pf.parallel_map(outer, [3, 3], max_workers=2):
        assert inner == {pid}
        assert results == [0, 2, 4]


def test_leaving_a_stream_ends_the_items_under_way(gate: Gate) -> None:
    def work(item: int) -> int:
        if item == 3:
            gate.enter(os.getpid())
            signal.pause()
        return item

    stream = pf.parallel_imap(work, itertools.count(), max_workers=2, chunksize=1)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    stuck = psutil.Process(int(gate.await_item()))
    begun = monotonic()
    stream.close()  # type: ignore[attr-defined]
    assert monotonic() - begun < 1
    assert psutil.wait_procs([stuck], 1)[1] == []
    assert pf.parallel_map(double, range(10), max_workers=2) == list(range(0, 20, 2))


def test_a_stream_that_is_dropped_by_the_collector_ends_its_job() -> None:
    stream: Any = pf.parallel_imap(double, itertools.count(), max_workers=2)
    next(stream)
    cycle = [stream]
    cycle.append(cycle)
    del stream, cycle
    assert pf.parallel_map(double, range(1000), max_workers=2) == list(range(0, 2000, 2))


# --- how many workers ----------------------------------------------------------------------------


@pytest.mark.parametrize("max_workers", [1, 2, 5])
def test_no_more_workers_than_allowed_take_part(max_workers: int) -> None:
    pf.parallel_map(double, range(50), max_workers=6)
    pids = set(pf.parallel_map(whoami, range(300), max_workers=max_workers, chunksize=1))
    assert 1 <= len(pids) <= max_workers
    assert os.getpid() not in pids


def test_many_workers_work() -> None:
    assert pf.parallel_map(double, range(1000), max_workers=64, chunksize=1) == list(range(0, 2000, 2))
    latest = time.monotonic() + LONG
    while len(spawner_and_workers()[1]) < 64:  # the first ones may be done before the last ones are there
        assert time.monotonic() < latest


def test_more_workers_than_a_pool_has_are_refused() -> None:
    with pytest.raises(pf.OptionError, match="max_workers=5000"):
        pf.parallel_map(double, [1], max_workers=5000)


def test_no_more_workers_are_started_than_there_are_items() -> None:
    pf.parallel_map(double, range(3), max_workers=20)
    assert len(spawner_and_workers()[1]) <= 3


# --- arrays ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["rows", "items"])
def test_views_that_an_item_keeps_are_never_overwritten(form: str) -> None:
    kept: list[Any] = []

    def keep(row: Any) -> float:
        kept.append((row, row.copy()))
        return float(row[0])

    def compare(_item: int) -> list[bool]:
        return [bool(np.array_equal(view, copy)) for view, copy in kept]

    def work(item: Any) -> Any:
        return compare(0) if isinstance(item, int) else keep(item)

    if form == "rows":
        array = np.arange(400_000.0).reshape(400, 1000)

        def look(row: Any) -> tuple[float, bool]:
            first = keep(row)
            return first, all(compare(0))

        found = pf.parallel_map(look, array, max_workers=1)
        assert found == [(float(row[0]), True) for row in array]
    else:
        items = [np.full(2000, float(n)) for n in range(300)]
        found = pf.parallel_map(work, [*items, 0], max_workers=1)
        assert found[:-1] == [float(n) for n in range(300)]
        assert found[-1] == [True] * 300


@pytest.mark.parametrize("shape", [(50,), (50, 300)])
def test_an_item_may_change_its_array_and_the_callers_stays(shape: tuple[int, ...]) -> None:
    def work(row: Any) -> Any:
        row += 1
        return row

    array = np.arange(float(np.prod(shape))).reshape(shape)
    before = array.copy()
    rows = list(array) if len(shape) > 1 else [np.array(value) for value in array]
    for items in (rows, array) if len(shape) > 1 else (rows,):
        found = pf.parallel_map(work, items, max_workers=2)
        assert np.array_equal(np.array(found), before + 1)
        assert np.array_equal(array, before)


def test_an_array_in_a_closure_is_in_memory_once_and_can_be_written_to() -> None:
    shared = np.ones(1 << 20)  # 8 MB

    def private_bytes(_item: int) -> tuple[float, int, int]:
        total = float(shared.sum())
        fields = Path("/proc/self/smaps").read_text().split("memfd:pocketflex")
        dirty = sum(int(n) for part in fields[1:] for n in re.findall(r"Private_Dirty: +(\d+) kB", part)[:1])
        shared[os.getpid() % 100] = 5
        return total, dirty, os.getpid()

    found = pf.parallel_map(private_bytes, range(2), max_workers=2, chunksize=1)
    assert max(dirty for _, dirty, _ in found) < 4096
    assert found[0][0] == 1 << 20
    assert shared.sum() == 1 << 20


def test_large_items_and_results_pass_through() -> None:
    items = [np.full(6_000_000, n, "f8") for n in range(2)]  # 48 MB each: more than a shared segment
    found = pf.parallel_map(lambda a: a + 1, items, max_workers=1)
    assert [(one[0], one[-1], one.size) for one in found] == [(1, 1, 6_000_000), (2, 2, 6_000_000)]
    assert [len(one) for one in pf.parallel_map(lambda n: b"x" * n, [40_000_000, 10])] == [40_000_000, 10]


# --- where the caller stands --------------------------------------------------------------------


def test_workers_see_what_the_caller_has_changed_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(_item: int) -> tuple[str, str | None, str | None, bool]:
        return os.getcwd(), os.environ.get("PFX_ONE"), os.environ.get("PFX_TWO"), str(tmp_path) in sys.path

    monkeypatch.setenv("PFX_ONE", "first")
    assert pf.parallel_map(look, [1])[0] == (os.getcwd(), "first", None, False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PFX_ONE")
    monkeypatch.setenv("PFX_TWO", "second")
    monkeypatch.syspath_prepend(tmp_path)
    assert pf.parallel_map(look, [1])[0] == (str(tmp_path), None, "second", True)
    (tmp_path / "made_later.py").write_text("VALUE = 42\n")
    assert pf.parallel_map(lambda _: __import__("made_later").VALUE, [1]) == [42]


def test_what_an_item_starts_finds_an_empty_standard_input() -> None:
    def read(_item: int) -> tuple[str, str]:
        return os.readlink("/proc/self/fd/0"), subprocess.run(
            [sys.executable, "-c", "import os; print(os.readlink('/proc/self/fd/0'))"], capture_output=True, text=True
        ).stdout

    assert pf.parallel_map(read, [0]) == [("/dev/null", "/dev/null\n")]


def test_descriptors_that_programs_inherit_are_not_kept_by_workers() -> None:
    """The other end of such a pipe would never see its end."""
    pf.shutdown()
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        pf.parallel_map(abs, [-1])
        os.close(writer)
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


def test_a_python_whose_spawn_knows_no_sessions_is_no_hindrance(run_script: RunScript) -> None:
    script = """
import os, pocketflex as pf
def refuse(*args, **options):
    raise NotImplementedError("setsid is not supported on this system")
os.posix_spawn = refuse
print(pf.parallel_map(lambda x: x + 1, range(3)), pf.parallel_map(lambda _: os.getsid(0), [0]) != [os.getsid(0)])
"""
    assert done(run_script(script)) == "[1, 2, 3] True\n"


def test_a_folder_that_is_gone_is_no_hindrance(run_script: RunScript) -> None:
    script = """
import os, tempfile, pocketflex as pf
folder = tempfile.mkdtemp()
os.chdir(folder)
os.rmdir(folder)
print(pf.parallel_map(lambda x: x + 1, range(3)))
"""
    assert done(run_script(script)) == "[1, 2, 3]\n"


def test_the_memory_of_a_stream_is_bounded(run_script: RunScript) -> None:
    script = """
import psutil, pocketflex as pf
this = psutil.Process()
def items():
    for n in range(200_000):
        yield n.to_bytes(8) * 1250
most, first, count = 0, None, 0
for result in pf.parallel_imap(len, items(), max_workers=2):
    count += 1
    if count % 10_000 == 0:
        most = max(most, this.memory_info().rss)
        first = first or most
print(count, most - first < 100e6, (most - first) // 1_000_000, "MB")
"""
    assert done(run_script(script, timeout=60)).startswith("200000 True")


# --- forks ---------------------------------------------------------------------------------------

FORK = """
import os, psutil, sys, pocketflex as pf
def pids(n): return set(pf.parallel_map(lambda _: os.getpid(), range(n), max_workers=2))
stream = pf.parallel_imap(lambda x: x, iter(range(20_000)), max_workers=2, chunksize=10)
assert [next(stream) for _ in range(5)] == [0, 1, 2, 3, 4]
def children(): return {child.pid for child in psutil.Process().children(recursive=True)}
while len(mine := children()) < 3: pass  # the first results may come before the second worker has been forked
child = os.fork()
if child == 0:
    END
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, status
assert pids(50) <= mine, "the workers of this process are gone"
rest = list(stream)
assert rest == list(range(5, 20_000)), (len(rest), rest[:3])
print("fine")
"""


@pytest.mark.parametrize(
    "end",
    ["os._exit(0)", "sys.exit(0)", "os._exit(bool(pids(50) & mine))", "stream.close(); os._exit(0)",
     "pf.shutdown(); os._exit(0)", "pids(50); sys.exit(0)"],
    ids=["exits", "exits cleanly", "uses its own", "closes a stream", "shuts down", "uses its own, exits cleanly"],
)  # fmt: skip
def test_a_fork_of_the_parent_has_its_own_workers(run_script: RunScript, end: str) -> None:
    assert done(run_script(FORK.replace("END", end))) == "fine\n"


def test_subprocesses_and_threads_of_items_work() -> None:
    def work(x: int) -> Iterator[int] | int:
        found: list[int] = []
        thread = threading.Thread(target=found.append, args=(x,))
        thread.start()
        thread.join()
        return found[0] + int(subprocess.run(["echo", "1"], capture_output=True, check=True).stdout)

    assert pf.parallel_map(work, range(4), max_workers=2) == [1, 2, 3, 4]


def test_a_worker_with_a_long_item_holds_no_memory_of_other_calls(gate: Gate, shared_bytes: Callable[[], int]) -> None:
    call = Thread(lambda: pf.parallel_map(lambda _: gate.enter(), [0], max_workers=1))
    gate.await_item()
    pf.parallel_map(abs, [1, 2], max_workers=2)
    before = shared_bytes()
    for _ in range(10):
        held = np.zeros(1 << 20)
        assert pf.parallel_map(lambda n, held=held: float(held[n]), [1, 2], max_workers=2) == [0.0, 0.0]
    assert shared_bytes() - before < 5 * (8 << 20)
    gate.let_go()
    call.result()


KEPT: list[Any] = []


def keep(array: Any) -> Any:
    KEPT.append(array)
    return array


def test_a_large_array_that_an_item_keeps_and_returns_stays_as_it_was() -> None:
    def arrays() -> Iterator[Any]:
        for number in range(12):
            yield np.full(400_000, float(number))

    for _ in range(3):
        results = pf.parallel_map(keep, arrays(), max_workers=2)
        assert [set(map(float, result[::50_000])) for result in results] == [{float(n)} for n in range(12)]


@pytest.mark.parametrize("make", [int, "item {}".format], ids=["numbers", "text"])
def test_the_result_of_a_fork_within_an_item_goes_nowhere(make: Any) -> None:
    def work(number: int) -> Any:
        if number % 50 == 25 and os.fork() == 0:
            return make(10**6)  # in a child, which comes back into the worker's loop
        return make(number)

    assert pf.parallel_map(work, range(1000), max_workers=2) == [make(number) for number in range(1000)]
