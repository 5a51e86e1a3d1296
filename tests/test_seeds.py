"""Random numbers of items: they follow from seed and index alone, wherever the items run, and touch nothing else."""

from __future__ import annotations

import asyncio
import os
import pickle
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import pocketflex as pf
from pocketflex._engine.by_value import ship_by_value
from pocketflex.call import Call
from pocketflex.seeds import mix

ship_by_value(sys.modules[__name__])  # pytest loads this file by its path, so workers cannot import it

SEED = 20_260
BIG = (0, 1, 2**32 - 1, 2**32, 2**64 + 5, 2**128 + 1, 2**200 - 1)


@pytest.mark.parametrize("seed", BIG)
@pytest.mark.parametrize("index", [0, 1, 12345, 2**32 - 1, 2**32, 2**40 + 7])
def test_the_mixing_is_that_of_numpy(seed: int, index: int) -> None:
    child = np.random.SeedSequence(seed, spawn_key=(index,))
    assert mix(seed, index) == child.generate_state(4).tolist()


def draw(_item: Any) -> tuple[Any, ...]:
    return pf.item_seed(), float(pf.item_rng().random()), float(pf.item_rng().random())


def draw_globally(item: Any) -> tuple[Any, ...]:
    return random.random(), float(np.random.random()), draw(item)  # that is what is tested


def expected(count: int) -> list[tuple[Any, ...]]:
    found = []
    for child in np.random.SeedSequence(SEED).spawn(count):
        rng = np.random.default_rng(child)
        number = int.from_bytes(child.generate_state(4).tobytes(), "little")
        found.append((number, float(rng.random()), float(rng.random())))
    return found


WAYS: list[dict[str, Any]] = [
    {"max_workers": 1},
    {"max_workers": 2},
    {"max_workers": 2, "chunksize": 7},
    {"max_workers": 2, "timeout": 60},
    {"max_workers": 2, "isolate": False},
    {"max_workers": 1, "isolate": False},
    {"executor": "serial"},
]


@pytest.mark.parametrize("options", [*WAYS, {"executor": "threads", "max_workers": 2}], ids=str)
@pytest.mark.parametrize("count", [1, 2, 60])
def test_the_numbers_of_an_item_are_those_of_its_child_of_the_seed(options: dict[str, Any], count: int) -> None:
    assert pf.parallel_map(draw, range(count), seed=SEED, **options) == expected(count)


@pytest.mark.parametrize("options", WAYS, ids=str)
@pytest.mark.parametrize("count", [1, 2, 60])
def test_the_global_generators_are_seeded_for_each_item(options: dict[str, Any], count: int) -> None:
    found = pf.parallel_map(draw_globally, range(count), seed=SEED, **options)
    numbers = expected(count)
    state = random.Random(numbers[-1][0]).random()
    legacy = np.random.RandomState(mix(SEED, count - 1)).random()
    assert [three for _, _, three in found] == numbers
    assert found[-1][:2] == (state, legacy)
    assert len({one for one, _, _ in found}) == count


def test_other_seeds_and_other_items_have_other_numbers() -> None:
    found = [pf.parallel_map(draw, range(50), seed=seed, executor="serial") for seed in (1, 2)]
    assert len({number for numbers in found for number, _, _ in numbers}) == 100


@pytest.mark.parametrize("options", [{"executor": "serial"}, {"isolate": False, "max_workers": 2}], ids=str)
def test_the_callers_generators_go_on_as_if_nothing_had_run(options: dict[str, Any]) -> None:
    random.seed(1)
    np.random.seed(1)
    wanted = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)
    for _ in pf.parallel_imap(draw_globally, range(20), seed=SEED, **options):
        state = random.getstate()
    assert (random.random(), np.random.random()) == wanted
    random.seed(1)
    assert state == random.getstate()


def test_threads_leave_the_global_generators_alone() -> None:
    random.seed(1)
    state = random.getstate()
    pf.parallel_map(draw, range(20), seed=SEED, executor="threads", max_workers=2)
    assert random.getstate() == state


class Draw(pf.BatchNode):
    def prep(self, shared: Any) -> Any:
        return range(5)

    def exec_item(self, item: int) -> Any:
        return draw(item)

    def post(self, shared: Any, items: Any, results: Any) -> Any:
        return "done", {"numbers": results}


class DrawAsync(pf.AsyncBatchNode):
    def prep(self, shared: Any) -> Any:
        return range(5)

    async def exec_item_async(self, item: int) -> Any:
        await asyncio.sleep(0)
        number = draw(item)
        await asyncio.sleep(0)
        assert number[0] == pf.item_seed()
        return number

    def post(self, shared: Any, items: Any, results: Any) -> Any:
        return "done", {"numbers": results}


def test_every_model_has_the_same_numbers() -> None:
    models = [pf.run, pf.run_batch, pf.run_parallel_batch]
    awaited = [pf.run_async, pf.run_async_batch, pf.run_async_parallel_batch]
    found = [model(Draw, seed=SEED)["numbers"] for model in models]
    found += [asyncio.run(model(node, seed=SEED))["numbers"] for model in awaited for node in (Draw, DrawAsync)]
    assert found == [expected(5)] * 9


def test_a_node_may_have_its_own_seed() -> None:
    class Own(Draw):
        seed = SEED

    assert pf.run_parallel_batch(Own)["numbers"] == expected(5)
    assert pf.run_parallel_batch(Own, seed=1)["numbers"] != expected(5)


def test_items_of_the_runs_of_a_parallel_flow_differ_and_are_the_same_again() -> None:
    class Inner(Draw):
        def post(self, shared: Any, items: Any, results: Any) -> None:
            return None

        def exec_item(self, item: int) -> int:
            return pf.item_seed()

    class Runs(pf.ParallelBatchFlow):
        def prep(self, shared: Any) -> Any:
            return [{"n": n} for n in range(3)]

        def post(self, shared: Any, runs: Any, results: Any) -> Any:
            shared["runs"] = results

    class Collect(Inner):
        def post(self, shared: Any, items: Any, results: Any) -> Any:
            shared["seen"] = results

    found = []
    for model in (pf.run_batch, pf.run_parallel_batch):
        shared = model(Runs(start=Collect()), seed=SEED)
        found.append(shared["runs"])
    assert found[0] == found[1]
    assert len({number for run in found[0] for number in run}) == 15


def test_each_attempt_begins_with_the_same_numbers() -> None:
    class Tries(Draw):
        max_retries = 3

        def exec_item(self, item: int) -> Any:
            number = draw_globally(item)
            if self.cur_retry < 2:
                raise ValueError
            return number

    once = pf.parallel_map(draw_globally, range(5), seed=SEED)
    assert pf.run_parallel_batch(Tries, seed=SEED)["numbers"] == once
    assert pf.run_batch(Tries, seed=SEED)["numbers"] == once


@pytest.mark.parametrize("options", [{"max_workers": 2}, {"executor": "serial"}, {"executor": "threads"}], ids=str)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_an_attempt_after_a_wait_begins_with_the_same_numbers_in_whichever_worker(
    options: dict[str, Any], is_chunked: bool, tmp_path: Any
) -> None:
    class Tries(Draw):
        retry = pf.Retry(3, wait=0.02)

        def exec_item(self, item: int) -> Any:
            number = draw(item)
            with open(tmp_path / f"attempts-{item}", "a") as file:
                print(os.getpid(), number, file=file)
            if self.cur_retry < 2:
                raise ValueError
            return number

        if is_chunked:

            def exec_chunk(self, items: Any) -> Any:
                if len(items) > 1:
                    raise ValueError
                return [self.exec_item(items[0])]

    assert pf.run_parallel_batch(Tries, seed=SEED, **options)["numbers"] == expected(5)
    for item, number in enumerate(expected(5)):
        tries = [line.split(" ", 1)[1] for line in (tmp_path / f"attempts-{item}").read_text().splitlines()]
        assert set(tries) == {str(number)}
        assert len(tries) >= 3


def test_a_fallback_has_the_numbers_of_its_item() -> None:
    class Falls(Draw):
        max_retries = 2

        def exec_item(self, item: int) -> Any:
            raise ValueError

        def exec_fallback(self, item: int, error: Exception) -> Any:
            return draw(item)

    for model in (pf.run_batch, pf.run_parallel_batch):
        assert model(Falls, seed=SEED)["numbers"] == expected(5)


@pytest.mark.parametrize("options", [*WAYS, {"executor": "threads", "max_workers": 2}], ids=str)
def test_a_replay_has_the_numbers_of_its_item(options: dict[str, Any]) -> None:
    state = random.getstate()
    failures = pf.parallel_map(draw_and_fail, range(4), seed=SEED, on_error="collect", **options)
    for failure, number in zip(failures, expected(4), strict=True):
        assert failure.error.args == (number,)
        assert failure.item == failure.index
        with pytest.raises(ValueError, match=str(number[0])) as caught:
            failure.replay()
        assert caught.value.args == (number,)
    assert random.getstate() == state
    with pytest.raises(pf.OptionError):
        pf.item_seed()


def draw_and_fail(item: int) -> Any:
    raise ValueError(draw(item))


def test_a_replay_of_an_async_item_has_its_numbers() -> None:
    class Fails(DrawAsync):
        async def exec_item_async(self, item: int) -> Any:
            await asyncio.sleep(0)
            raise ValueError(draw(item))

    async def replay() -> list[Any]:
        shared = await pf.run_async_parallel_batch(Fails, seed=SEED, on_error="collect")
        found = []
        for failure in shared["numbers"]:
            try:
                await failure.replay()
            except ValueError as error:
                found.append(error.args[0])
        with pytest.raises(pf.OptionError):
            pf.item_seed()
        return found

    assert asyncio.run(replay()) == expected(5)


def test_async_attempts_begin_with_the_same_numbers() -> None:
    class Tries(DrawAsync):
        retry = pf.Retry(3, wait=0.001)

        async def exec_item_async(self, item: int) -> Any:
            number = draw(item)
            await asyncio.sleep(0)
            if self.cur_retry < 2:
                raise ValueError
            return number

    assert asyncio.run(pf.run_async_parallel_batch(Tries, seed=SEED, timeout=60))["numbers"] == expected(5)


def test_an_item_that_is_tried_again_after_a_crash_has_the_same_numbers(tmp_path: Any) -> None:
    def crash_once(item: int) -> Any:
        if item == 1 and not (tmp_path / "there").exists():
            (tmp_path / "there").touch()
            sys.modules["os"]._exit(1)
        return draw(item)

    assert pf.parallel_map(crash_once, range(3), seed=SEED, max_workers=2) == expected(3)


def test_chunks_have_the_numbers_of_their_first_item() -> None:
    class Chunks(Draw):
        def exec_chunk(self, items: Any) -> Any:
            return [pf.item_seed()] * len(items)

    wanted = [number for number, _, _ in expected(5)]
    for model in (pf.run_batch, pf.run_parallel_batch):
        found = model(Chunks, seed=SEED, chunksize=2)["numbers"]
        assert found == [wanted[0], wanted[0], wanted[2], wanted[2], wanted[4]]


def test_a_batch_within_an_item_leaves_the_items_own_numbers_alone() -> None:
    def nest(item: int) -> Any:
        first = random.random()
        inner = pf.parallel_map(draw, range(2), seed=3)
        return inner, first, random.random(), pf.item_seed()

    def plain(item: int) -> Any:
        return random.random(), random.random(), pf.item_seed()

    wanted = pf.parallel_map(plain, range(3), seed=SEED)
    for options in ({"max_workers": 2}, {"executor": "serial"}):
        found = pf.parallel_map(nest, range(3), seed=SEED, **options)  # type: ignore[arg-type]
        assert [tuple(rest) for _, *rest in found] == wanted
        assert [inner for inner, *_ in found] == [pf.parallel_map(draw, range(2), seed=3)] * 3


def test_a_call_without_a_seed_is_what_it_was() -> None:
    for call in (Call(abs), Call(abs, pf.Retry(2)), Call(abs, chunk=list)):
        assert b"prepared" not in pickle.dumps(call, 5)
        assert b"seed" not in pickle.dumps(call, 5)
    code = (
        "import sys, pocketflex as pf; pf.parallel_map(abs, range(9)); print([n for n in sys.modules if 'seeds' in n])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("function", [pf.item_seed, pf.item_rng])
def test_without_a_seed_there_are_no_numbers(function: Any) -> None:
    with pytest.raises(pf.OptionError, match=r"item_\w+\(\) is for items of a call with the option seed="):
        function()
    with pytest.raises(pf.OptionError, match="seed="):
        pf.parallel_map(lambda _: function(), [1])
    pf.parallel_map(draw, [1, 2], seed=1)
    with pytest.raises(pf.OptionError, match="seed="):
        pf.parallel_map(lambda _: function(), [1, 2])


@pytest.mark.parametrize("seed", [-1, True, 1.5, "1"])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(pf.OptionError, match="seed="):
        pf.parallel_map(abs, [1], seed=seed)


def test_the_first_item_of_a_process_has_its_numbers_too(run_script: Any) -> None:
    """numpy imports numpy.random when it is first wanted."""
    source = (
        "import numpy, pocketflex as pf\n"
        "def work(n): return float(numpy.random.rand())\n"
        "print(pf.parallel_map(work, range(3), seed=1, executor='serial'))\n"
        "print(pf.parallel_map(work, range(3), seed=1, max_workers=2, chunksize=1))\n"
    )
    one, two = (run_script(source).stdout.splitlines() for _ in range(2))
    assert one == two
    assert one[0] == one[1]


def test_a_seed_may_be_a_number_of_numpy() -> None:
    draws = [pf.parallel_map(lambda _: pf.item_seed(), range(3), max_workers=2, seed=seed) for seed in (3, np.int64(3))]
    assert draws[0] == draws[1]
    with pytest.raises(pf.OptionError, match="it must be a whole number"):
        pf.parallel_map(abs, [1], seed=int)  # type: ignore[arg-type]
