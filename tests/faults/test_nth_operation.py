"""The n-th operation fails, for n = 1, 2, 3 ... until none does: never a hang, a wrong or a lost result.

As in SQLite's tests. The call may raise what the system has said, or that its workers cannot go on; the pool must be
usable afterwards, and nothing be left. In this process the functions through which the engine reaches the system
are replaced by ones that count; in workers, where tests reach nothing, limits of the system stand in for that.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

RunScript = Callable[..., subprocess.CompletedProcess[str]]

FAIL_NTH = r"""
import errno, faulthandler, gc, mmap, os, select, socket, sys, _socket
import numpy as np, pocketflex as pf

PLACES = {
    "memfd_create": (os, "memfd_create", errno.EMFILE), "ftruncate": (os, "ftruncate", errno.ENOSPC),
    "posix_fallocate": (os, "posix_fallocate", errno.ENOSPC), "mmap": (mmap, "mmap", errno.ENOMEM),
    "sendmsg": (socket.socket, "sendmsg", errno.ENOBUFS), "recvmsg": (socket.socket, "recvmsg", errno.ENOMEM),
    "posix_spawn": (os, "posix_spawn", errno.EAGAIN), "socketpair": (_socket, "socketpair", errno.EMFILE),
    "epoll": (select, "epoll", errno.EMFILE), "eventfd": (os, "eventfd", errno.EMFILE),
}
HERE = os.getpid()
SOME = 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987

class Nth:
    'Fails once, at the n-th call.'
    def __init__(self, place, number):
        self.owner, self.name, self.errno = place
        self.real, self.left = getattr(self.owner, self.name), number
    def __enter__(self):
        def call(*args, **options):
            if os.getpid() == HERE:
                self.left -= 1
                if self.left == 0:
                    raise OSError(self.errno, f"made up: {self.name}")
            return self.real(*args, **options)
        setattr(self.owner, self.name, call)
        return self
    def __exit__(self, *_):
        setattr(self.owner, self.name, self.real)

def work():
    'Columns, arrays, a large item and result, a large callable, a stream, a single item.'
    held = np.arange(2_000.0)
    found = pf.parallel_map(lambda n: n + int(held[n % 7]), range(300), max_workers=2)
    assert found == [n + n % 7 for n in range(300)]
    rows = pf.parallel_map(lambda n: np.full(100_000, n), range(4), max_workers=2, chunksize=1)
    assert [float(row.sum()) for row in rows] == [n * 1e5 for n in range(4)]
    assert pf.parallel_map(lambda text: text + "!", ["x" * 2_000_000], max_workers=2) == ["x" * 2_000_000 + "!"]
    assert list(pf.parallel_imap(lambda n: [n], iter(range(50)), max_workers=2)) == [[n] for n in range(50)]
    assert pf.parallel_map(abs, [-5]) == [5]

def link(fd):
    'What a descriptor refers to.'
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:  # the one of the listing itself
        return ""

def is_of_the_system(error):
    return isinstance(error, (OSError, pf.WorkerDiedError))

name = sys.argv[1]
before = None
for number in range(1, 1000) if sys.argv[2] == "every" else SOME:
    faulthandler.dump_traceback_later(60, exit=True)
    with Nth(PLACES[name], number) as nth:
        try:
            work()
        except Exception as error:
            if not is_of_the_system(error):
                raise
    assert pf.parallel_map(lambda n: [n], range(100), max_workers=2) == [[n] for n in range(100)]
    pf.shutdown()
    gc.collect()
    held = sorted(map(link, os.listdir("/proc/self/fd")))
    before = before or held
    assert held == before, (number, held)
    if nth.left > 0:
        break
else:
    raise AssertionError("no end")
print(number)
"""


HOW = pytest.mark.parametrize("how", ["some", pytest.param("every", marks=pytest.mark.soak)])


@HOW
@pytest.mark.parametrize(
    "name",
    ["memfd_create", "ftruncate", "posix_fallocate", "mmap", "sendmsg", "recvmsg", "posix_spawn", "socketpair",
     "epoll", "eventfd"],
)  # fmt: skip
def test_whichever_operation_fails_here_the_pool_goes_on(run_script: RunScript, name: str, how: str) -> None:
    done = run_script(FAIL_NTH, timeout=200, arguments=(name, how))
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) >= 1


LADDER = r"""
import faulthandler, gc, os, resource, sys
import numpy as np, pocketflex as pf

MB = 1 << 20
LIMITS = {
    "AS": (resource.RLIMIT_AS, [n * MB for n in (0, 4, 12, 32, 64, 100, 200, 1000, 8000)]),
    "NOFILE": (resource.RLIMIT_NOFILE, [4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 18, 24, 40]),
    "FSIZE": (resource.RLIMIT_FSIZE, [0, 1 << 14, 1 << 17, 1 << 19, MB, 2 * MB, 4 * MB, 9 * MB, 64 * MB]),
}
OF_THE_SYSTEM = (OSError, MemoryError, ImportError, pf.PocketflexError)

def check(found, expected, is_strict):
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, pf.Failure) and not is_strict:
            assert isinstance(one.error, OF_THE_SYSTEM), one
        else:
            assert one == other, (one, other)

def work(is_strict):
    'As above; unless it is strict, items for which there is too little of something may fail.'
    options = {"max_workers": 2, "on_error": "raise" if is_strict else "collect"}
    check(pf.parallel_map(lambda n: n * n, range(300), **options), [n * n for n in range(300)], is_strict)
    rows = pf.parallel_map(lambda n: np.full(100_000, n), range(4), chunksize=1, **options)
    sums = [row if isinstance(row, pf.Failure) else float(row.sum()) for row in rows]
    check(sums, [n * 1e5 for n in range(4)], is_strict)
    text = "x" * 2_000_000
    check(pf.parallel_map(lambda text: text + "!", [text, "y"], **options), [text + "!", "y!"], is_strict)
    check(list(pf.parallel_imap(lambda n: [n], iter(range(50)), **options)), [[n] for n in range(50)], is_strict)
    check(pf.parallel_map(abs, [-5], **options), [5], is_strict)

def limit(kind, value):
    used = int(open("/proc/self/statm").read().split()[0]) * 4096 if kind == resource.RLIMIT_AS else 0
    resource.setrlimit(kind, (used + value, resource.getrlimit(kind)[1]))

name, where, how = sys.argv[1:]
kind, values = LIMITS[name]
values = values if how == "every" else values[::4]
usual = resource.getrlimit(kind)
said = []
work(is_strict=True)
pf.shutdown()
for value in values:
    faulthandler.dump_traceback_later(60, exit=True)
    try:
        if where == "workers":
            pf.parallel_map(lambda _: limit(kind, value), range(2), max_workers=1)
        else:
            limit(kind, value)  # processes inherit it
        work(is_strict=False)
        said.append("fine")
    except OF_THE_SYSTEM:
        said.append("error")
    finally:
        resource.setrlimit(kind, usual)
    pf.shutdown()  # what was started under the limit keeps it
    gc.collect()  # what could not be made in full is a cycle, with descriptors
    work(is_strict=True)
    pf.shutdown()
print(said[0], said[-1])
"""


@HOW
@pytest.mark.soak
@pytest.mark.parametrize("where", ["workers", "everywhere"])
@pytest.mark.parametrize("name", ["AS", "NOFILE", "FSIZE"])
def test_however_little_there_is_nothing_hangs_or_is_wrong(
    run_script: RunScript, name: str, where: str, how: str
) -> None:
    done = run_script(LADDER, timeout=300, arguments=(name, where, how))
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.split()
    assert last == "fine"
    assert where == "workers" or name == "AS" or first == "error"  # of memory there may be some to be used again
