"""What items print, log and warn of reaches this process, its handlers, filters and streams, before the outcome."""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pocketflex as pf
from pocketflex._engine.by_value import ship_by_value

ship_by_value(sys.modules[__name__])  # pytest loads this file by its path, so workers cannot import it

LONG = 30.0  # seconds: over long before, unless something is wrong
COUNTS = pytest.mark.parametrize("count", [1, 2, 40], ids=["errand", "two", "job"])


class Kept(logging.Handler):
    """Keeps what it handles."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler = Kept()
    logging.root.addHandler(handler)
    level = logging.root.level
    logging.root.setLevel(logging.INFO)
    yield handler
    logging.root.removeHandler(handler)
    logging.root.setLevel(level)


def warm() -> None:
    pf.parallel_map(abs, range(4), max_workers=2)


# --- records -----------------------------------------------------------------------------------


@COUNTS
def test_a_record_is_handled_here_and_says_of_which_item_it_is(kept: Kept, count: int) -> None:
    def work(item: int) -> int:
        logging.getLogger("some.where").info("item %d of %s", item, "many")
        return item

    warm()
    assert pf.parallel_map(work, range(count), max_workers=2) == [*range(count)]
    assert sorted(kept.messages) == sorted(f"item {n} of many" for n in range(count))
    for record in kept.records:
        said: Any = record
        assert said.pocketflex_item == record.args[0]  # type: ignore[index]
        assert (record.name, record.levelname, record.msg) == ("some.where", "INFO", "item %d of %s")
        assert "work" in said.pocketflex_node
        assert record.process != os.getpid()


class Node(pf.BatchNode):
    def prep(self, shared: Any) -> Any:
        return [5, 6]

    def exec_item(self, item: int) -> int:
        logging.warning("from a node")
        return item


def test_a_record_names_its_node(kept: Kept) -> None:
    pf.run_parallel_batch(Node)
    said: Any = kept.records
    assert [(record.pocketflex_node, record.name) for record in said] == [("node Node", "root")] * 2
    assert sorted(record.pocketflex_item for record in said) == [0, 1]


def test_the_records_of_a_worker_keep_their_order_and_come_before_its_outcomes(kept: Kept) -> None:
    def work(item: int) -> int:
        for n in range(20):
            logging.info("%d", 20 * item + n)
        return item

    # of chunks of a fixed size none is handed back, to be run behind others, on a machine with much else to do
    for done in pf.parallel_imap(work, range(200), max_workers=1, chunksize=10):
        numbers = [int(message) for message in kept.messages]
        assert numbers == [*range(len(numbers))]
        assert len(numbers) >= 20 * (done + 1)


@pytest.mark.parametrize("count", [1, 3])
def test_levels_are_those_of_the_call(kept: Kept, count: int) -> None:
    def work(_item: int) -> bool:
        logging.getLogger("quiet").debug("debug")
        logging.getLogger("quiet").warning("warning")
        return logging.getLogger("quiet").isEnabledFor(logging.DEBUG)

    def said() -> tuple[set[bool], set[str]]:
        kept.records.clear()
        return {*pf.parallel_map(work, range(count), max_workers=2)}, {*kept.messages}

    warm()
    assert said() == ({False}, {"warning"})
    logger = logging.getLogger("quiet")
    try:
        logger.setLevel(logging.DEBUG)
        assert said() == ({True}, {"debug", "warning"})
        logging.disable(logging.CRITICAL)
        assert said() == ({False}, set())
        logging.disable(logging.NOTSET)
        assert said() == ({True}, {"debug", "warning"})
        logger.setLevel(logging.NOTSET)
        assert said() == ({False}, {"warning"})
    finally:
        logger.setLevel(logging.NOTSET)
        logging.disable(logging.NOTSET)


class Odd:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Odd({self.name})"


def test_what_a_record_carries_arrives_or_is_described(kept: Kept) -> None:
    def work(_item: int) -> None:
        logging.info(Odd("message"), extra={"plain": 3, "odd": Odd("extra"), "lock": threading.Lock()})
        logging.info("argument %s", Odd("argument"))
        try:
            raise KeyError("missing")
        except KeyError:
            logging.exception("failed")

    pf.parallel_map(work, [0])
    first, second, third = (vars(record) for record in kept.records)
    assert (first["msg"], first["plain"], first["odd"].name) == ("Odd(message)", 3, "extra")
    assert first["lock"].startswith("<unlocked _thread.lock")
    assert (second["msg"], second["args"]) == ("argument Odd(argument)", None)
    assert "in work" in third["exc_text"]
    assert logging.Formatter().format(kept.records[2]).endswith("KeyError: 'missing'")


def test_a_module_that_configures_logging_in_a_worker_does_not_say_it_twice(run_script: Any) -> None:
    done = run_script(
        "import logging, sys, pocketflex as pf\n"
        "logging.basicConfig(format='here %(message)s', stream=sys.stdout)\n"
        "def work(item):\n"
        "    logging.basicConfig(format='there %(message)s', stream=sys.stdout)\n"
        "    logging.warning('once')\n"
        "pf.parallel_map(work, [1])\n"
    )
    assert (done.stdout, done.stderr) == ("here once\n", "")


def test_without_a_configuration_warnings_go_to_stderr_as_ever(run_script: Any) -> None:
    done = run_script(
        "import logging, pocketflex as pf\n"
        "def work(item):\n    logging.warning('warned'); logging.info('not')\n"
        "pf.parallel_map(work, [1, 2])\n"
    )
    assert (done.stdout, done.stderr) == ("", "warned\nwarned\n")


@COUNTS
def test_what_was_said_before_a_crash_is_there(kept: Kept, count: int) -> None:
    def work(item: int) -> None:
        if item == 0:
            logging.info("before")
            ctypes.string_at(0)

    warm()
    found = pf.parallel_map(work, range(count), on_error="collect", crash_retries=0, max_workers=2)
    assert isinstance(found[0], pf.Failure)
    assert kept.messages == ["before"]


class Faulty(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("a faulty handler")


class Calls(logging.Handler):
    """Uses the pool from within a handler, which may be refused, and must not wait for ever."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(RuntimeError):
            pf.parallel_map(abs, [1, 2, 3])


@pytest.mark.parametrize("handler", [Faulty, Calls])
def test_a_faulty_handler_costs_no_item(handler: type[logging.Handler], capsys: Any) -> None:
    def work(item: int) -> int:
        logging.getLogger("faulty").warning("x")
        return item

    one, logger = handler(), logging.getLogger("faulty")
    logger.addHandler(one)
    try:
        assert pf.parallel_map(work, range(20), max_workers=2) == [*range(20)]
        assert pf.parallel_map(work, [7]) == [7]
    finally:
        logger.removeHandler(one)
    assert ("a faulty handler" in capsys.readouterr().err) == (handler is Faulty)


def test_ctrl_c_in_a_handler_ends_the_call() -> None:
    class Interrupts(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise KeyboardInterrupt

    def work(item: int) -> int:
        logging.getLogger("interrupts").warning("x")
        return item

    one, logger = Interrupts(), logging.getLogger("interrupts")
    logger.addHandler(one)
    try:
        with pytest.raises(KeyboardInterrupt):
            pf.parallel_map(work, range(3), max_workers=2)
    finally:
        logger.removeHandler(one)
    assert pf.parallel_map(work, range(3), max_workers=2) == [0, 1, 2]


# --- floods ------------------------------------------------------------------------------------


def flood(item: int) -> int:
    for n in range(8_000):
        logging.info("%d", n)
    return item


def test_a_flood_of_records_arrives_whole(kept: Kept) -> None:
    assert pf.parallel_map(flood, [0, 1], max_workers=2) == [0, 1]
    for item in (0, 1):
        numbers = [record.args[0] for record in kept.records if vars(record)["pocketflex_item"] == item]  # type: ignore[index]
        assert numbers == [*range(8_000)]


def test_a_flood_waits_for_who_reads_and_stops_nobody_else(kept: Kept) -> None:
    """The consumer of a stream does something else meanwhile, and calls the pool itself."""
    stream = pf.parallel_imap(flood, [0, 1, 2], max_workers=2)
    results = [(result, pf.parallel_map(abs, range(-50, 0), max_workers=2)) for result in stream]
    assert results == [(item, [*range(50, 0, -1)]) for item in range(3)]
    assert len(kept.records) == 24_000


def test_a_flood_that_nobody_reads_fills_no_memory(kept: Kept) -> None:
    """Its worker waits in the socket, and ends with the call."""

    def work(item: int) -> int:
        if item:
            while True:
                logging.info("x" * 1000)
        return item

    stream = pf.parallel_imap(work, [0, 1], max_workers=2)
    assert next(stream) == 0
    before = len(kept.records)
    stream.close()
    assert len(kept.records) - before < 20_000  # what it says in the 50 ms until it is ended


def test_a_record_larger_than_a_packet_arrives(kept: Kept) -> None:
    text = "é€\udc80x" * 100_000
    pf.parallel_map(lambda _: logging.info("%s", text), range(2), max_workers=2)
    assert kept.messages == [text, text]


def test_threads_hear_what_their_own_items_have_said_before_their_calls_return(kept: Kept) -> None:
    wrong: list[Any] = []

    def work(word: str) -> None:
        logging.info(word)

    def call(name: str) -> None:
        for n in range(30):
            words = [f"{name} {n} {item}" for item in range(n % 3 + 1)]
            pf.parallel_map(work, words, max_workers=2)
            missing = {*words} - {*kept.messages}
            wrong.extend(missing)

    threads = [threading.Thread(target=call, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


# --- warnings ----------------------------------------------------------------------------------


class OwnWarning(UserWarning):
    pass


def warn(_item: int) -> None:
    warnings.warn("careful", DeprecationWarning, stacklevel=1)


@COUNTS
def test_a_warning_is_one_here_once_for_its_place(count: int) -> None:
    warm()
    for _ in range(2):  # entering the block makes all of them new, as in this process
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            pf.parallel_map(warn, range(count), max_workers=2)
        assert [(str(one.message), one.category, one.filename) for one in caught] == [
            ("careful", DeprecationWarning, __file__)
        ]
        assert caught[0].lineno == warn.__code__.co_firstlineno + 1


@COUNTS
def test_filters_of_this_process_hold_in_items(count: int) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pf.parallel_map(warn, range(count), max_workers=2)
        assert len(caught) == count
        warnings.simplefilter("ignore")
        pf.parallel_map(warn, range(count), max_workers=2)
        assert len(caught) == count
        warnings.filterwarnings("error", "care.*", DeprecationWarning)
        with pytest.raises(DeprecationWarning, match="careful"):
            pf.parallel_map(warn, range(count), max_workers=2)


def test_a_warning_of_a_class_of_ones_own_arrives_as_such() -> None:
    with pytest.warns(OwnWarning, match="mine"):
        pf.parallel_map(lambda _: warnings.warn("mine", OwnWarning, stacklevel=1), [0, 1])


def test_an_item_may_catch_its_own_warnings() -> None:
    def work(item: int) -> int:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn(item)
        return len(caught)

    with warnings.catch_warnings(record=True) as here:
        warnings.simplefilter("always")
        assert pf.parallel_map(work, range(3)) == [1, 1, 1]
    assert here == []


# --- prints ------------------------------------------------------------------------------------


@COUNTS
@pytest.mark.parametrize("redirect", [contextlib.redirect_stdout, contextlib.redirect_stderr])
def test_what_is_printed_goes_where_this_process_prints(redirect: Callable[..., Any], count: int) -> None:
    is_error = redirect is contextlib.redirect_stderr

    def work(item: int) -> None:
        stream = sys.stderr if is_error else sys.stdout
        print("item", item, file=stream)
        print("without an end", item, end="|", file=stream)

    warm()
    with redirect(io.StringIO()) as out:
        pf.parallel_map(work, range(count), max_workers=1)
    assert out.getvalue() == "".join(f"item {n}\nwithout an end {n}|" for n in range(count))


def test_the_capture_of_a_test_sees_it(capsys: pytest.CaptureFixture[str]) -> None:
    pf.parallel_map(print, ["a", "b"], max_workers=1)
    assert capsys.readouterr().out == "a\nb\n"


def test_streams_of_items_are_those_of_text() -> None:
    def work(_item: int) -> tuple[Any, ...]:
        subprocess.run([sys.executable, "-c", ""], stdout=sys.stdout, stderr=sys.stderr, check=True)
        sys.stdout.close()
        with contextlib.suppress(TypeError):
            sys.stdout.write(b"bytes")  # type: ignore[arg-type]
        print("still open")
        return sys.stdout.encoding, sys.stdout.isatty(), sys.stdout.writable()

    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert pf.parallel_map(work, [0]) == [("utf-8", False, True)]
    assert out.getvalue() == "still open\n"


def test_a_child_that_an_item_forks_speaks_for_itself(kept: Kept) -> None:
    def work(_item: int) -> int:
        child = os.fork()
        if not child:
            print("not from the worker", flush=True)
            logging.info("neither")
            os._exit(0)
        logging.info("parent")
        return os.waitpid(child, 0)[1]

    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert pf.parallel_map(work, [0, 1]) == [0, 0]
    assert out.getvalue() == ""
    assert kept.messages == ["parent", "parent"]


def test_what_is_printed_goes_to_the_descriptor_again_where_this_process_does(run_script: Any) -> None:
    done = run_script(
        "import contextlib, io, os, pocketflex as pf\n"
        "def work(item):\n    print('item', item)\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out:\n    pf.parallel_map(work, [1, 2], max_workers=1)\n"
        "pf.parallel_map(work, [3], max_workers=1)\n"
        "print(repr(out.getvalue()))\n"
    )
    assert (done.stdout, done.stderr) == ("item 3\n'item 1\\nitem 2\\n'\n", "")


def test_an_item_that_waits_for_the_reader_has_its_whole_time(kept: Kept) -> None:
    def work(item: int) -> int:
        for _ in range(4_000):
            logging.info("x")
        return item

    assert pf.parallel_map(work, range(2), timeout=20, max_workers=2) == [0, 1]


def test_what_threads_of_an_item_print_comes_once(capsys: pytest.CaptureFixture[str]) -> None:
    def work(number: int) -> None:
        def write(name: int) -> None:
            for line in range(3000):
                sys.stdout.write(f"{number}-{name}-{line}\n")

        sys.setswitchinterval(1e-6)
        threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    pf.parallel_map(work, range(2), max_workers=2, max_tasks_per_child=1)  # what it has set goes with it
    lines = sorted(capsys.readouterr().out.split())
    assert lines == sorted(
        f"{number}-{name}-{line}" for number in range(2) for name in range(4) for line in range(3000)
    )
