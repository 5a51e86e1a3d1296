"""What the machine does to a pool: too few descriptors, a small /dev/shm, locks that a fork would copy, much data.

Each in an interpreter of its own, because limits and mounts are for good.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

RunScript = Callable[..., subprocess.CompletedProcess[str]]


def done(script: subprocess.CompletedProcess[str]) -> str:
    assert (script.returncode, script.stderr) == (0, ""), script.stderr
    return script.stdout


LOCKED = """
import logging, threading, pocketflex as pf
held, end = threading.Event(), threading.Event()
def hold():
    with logging._lock:  # a fork would copy it
        held.set()
        end.wait()
def work(item):
    logging.getLogger(f"logger {item}")  # takes the lock of logging
    threading.Thread(target=str).start()
    return item
pf.parallel_map(abs, [-1, 2])  # what this process imports takes the lock too
pf.shutdown()
holder = threading.Thread(target=hold)
holder.start()
held.wait()
try:
    print(pf.parallel_map(work, range(8), max_workers=2))
finally:
    end.set()
    holder.join()
"""


def test_locks_that_threads_hold_are_not_copied(run_script: RunScript) -> None:
    assert done(run_script(LOCKED)) == "[0, 1, 2, 3, 4, 5, 6, 7]\n"


FEW_DESCRIPTORS = """
import resource, sys, pocketflex as pf
import numpy as np
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
print(pf.parallel_map(lambda n: n * n, range(8)))
print(sum(map(len, pf.parallel_map(lambda n: np.zeros(50_000), range(40)))))
print([type(one).__name__ for one in pf.parallel_map(lambda n: 1 // n, range(2), on_error="collect")])
"""


@pytest.mark.parametrize("limit", [24, 32])
def test_a_pool_has_enough_of_few_descriptors(run_script: RunScript, limit: int) -> None:
    out = done(run_script(FEW_DESCRIPTORS, arguments=(str(limit),)))
    assert out == "[0, 1, 4, 9, 16, 25, 36, 49]\n2000000\n['Failure', 'int']\n"


SMALL_MOUNT = """
import os, numpy as np, pocketflex as pf
assert os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize <= 64 << 20
items = [np.full(12_500_000, n, "f8") for n in range(2)]  # 100 MB each
print([float(one[-1]) for one in pf.parallel_map(lambda item: item + 1, iter(items), max_workers=2)])
held = items[1]
print(pf.parallel_map(lambda n: float(held[n]), range(3), max_workers=2))
print(os.listdir("/dev/shm"))
"""
MOUNT = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"'


def may_mount() -> bool:
    if not shutil.which("unshare"):
        return False
    return not subprocess.run(["unshare", "-m", "sh", "-c", MOUNT, "sh", "true"], capture_output=True).returncode


def test_a_small_dev_shm_does_not_matter(tmp_path: Path) -> None:
    if not may_mount():
        pytest.skip("only root may mount")
    file = tmp_path / "script.py"
    file.write_text(SMALL_MOUNT)
    command = ["unshare", "-m", "sh", "-c", MOUNT, "sh", sys.executable, str(file)]
    out = done(subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ)))
    assert out == "[1.0, 2.0]\n[1.0, 1.0, 1.0]\n[]\n"


NESTED = """
import pocketflex as pf
def inner(n):
    return n * n
def outer(n):
    return sum(pf.parallel_map(inner, range(n), max_workers=2))
for executor in ("processes", "threads", "serial"):
    found = pf.parallel_map(outer, range(8), max_workers=2, executor=executor)
    assert found == [sum(map(inner, range(n))) for n in range(8)]
def fails(n):
    return pf.parallel_map(lambda m: 1 // (m - 1), range(n), on_error="collect") if n == 3 else n
found = pf.parallel_map(fails, range(8), max_workers=2)
print(found[:3], [type(one).__name__ for one in found[3]], found[4:])
"""


def test_an_item_that_calls_the_engine_is_like_any_other(run_script: RunScript) -> None:
    assert done(run_script(NESTED)) == "[0, 1, 2] ['int', 'Failure', 'int'] [4, 5, 6, 7]\n"


LARGE = """
import numpy as np, pocketflex as pf
(found,) = pf.parallel_map(lambda n: np.full(275_000_000, n, "f8"), [3], max_workers=2)  # 2.2 GB
print(found.nbytes, float(found[0]), float(found[-1]), found.flags.writeable)
del found
print(len(pf.parallel_map(lambda n: b"x" * n, [2_200_000_000], max_workers=2)[0]))
print(pf.parallel_map(abs, [-1, -2], max_workers=2))
"""


@pytest.mark.soak
def test_a_result_above_two_gigabytes_arrives(run_script: RunScript) -> None:
    if psutil.virtual_memory().available < 8 << 30:
        pytest.skip("needs 8 GB")
    out = done(run_script(LARGE, timeout=300))
    assert out == "2200000000 3.0 3.0 True\n2200000000\n[1, 2]\n"
