"""Arenas: regions never overlap, freed space is used again, nothing stays."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketflex._engine.lens import Lens
from pocketflex._engine.segments import ALIGNMENT, Region, Segment
from pocketflex._engine.shm import Arena

LARGE = (32 << 20) + 1  # bytes: above this a region has a segment of its own


@contextmanager
def an_arena() -> Iterator[Arena]:
    arena = Arena()
    try:
        yield arena
    finally:
        arena.close()


def reading(arena: Arena, *regions: Region) -> Lens:
    lens = Lens()
    for segment in {region.segment for region in regions}:
        lens.add(segment, os.dup(arena.find(segment).fd))
    return lens


def seen(lens: Lens, region: Region) -> memoryview:
    """The bytes of a region, as its reader sees them."""
    return memoryview(lens.source(region.segment))[region.offset : region.offset + region.nbytes]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 700_000)), max_size=40))
def test_regions_keep_what_was_written_until_they_are_freed(steps: list[tuple[bool, int]]) -> None:
    with an_arena() as arena:
        live: list[tuple[Region, int]] = []
        for is_freed, size in steps:
            if is_freed and live:
                region, stamp = live.pop(size % len(live))
                assert set(arena.view(region)[:: max(1, region.nbytes // 50)]) == {stamp}
                arena.free(region)
            else:
                region = arena.allocate(size)
                stamp = len(live) % 251 + 1
                assert region.offset % ALIGNMENT == 0
                assert region.nbytes >= size
                arena.view(region)[:] = bytes([stamp]) * region.nbytes
                live.append((region, stamp))
        for region, stamp in live:
            assert set(arena.view(region)[:: max(1, region.nbytes // 50)]) == {stamp}


def test_freed_space_is_used_again_and_stays_warm() -> None:
    with an_arena() as arena:
        segments = set()
        for _ in range(1000):
            regions = [arena.allocate(50_000) for _ in range(10)]
            segments |= {region.segment for region in regions}
            for region in regions[::-2] + regions[::2][::-1]:
                arena.free(region)
        assert len(segments) == 1


def used(arena: Arena) -> int:
    """Bytes that the kernel has given it."""
    return sum(os.fstat(arena.find(number).fd).st_blocks * 512 for number in arena.segments())


def test_free_memory_is_given_back_and_reserved_again_when_it_is_used() -> None:
    with an_arena() as arena:
        regions = [arena.allocate(300_000) for _ in range(100)]
        full = used(arena)
        kept, *freed = regions
        arena.view(kept)[:] = b"k" * kept.nbytes
        for region in freed:
            arena.free(region)
        arena.cool(1 << 20)
        assert used(arena) <= (1 << 20) + 300_000 + 2 * 4096 * len(arena.segments()) < full
        assert bytes(arena.view(kept)) == b"k" * kept.nbytes
        before = used(arena)
        again = [arena.allocate(300_000) for _ in range(99)]
        assert used(arena) >= before + 99 * 300_000 - (1 << 20) - 4096 * 99
        for region in again:
            arena.view(region)[:] = b"a" * region.nbytes
        assert bytes(arena.view(kept)) == b"k" * kept.nbytes


def test_what_is_lent_is_not_given_back() -> None:
    with an_arena() as arena:
        region = arena.allocate(1 << 20)
        arena.view(region)[:] = b"x" * region.nbytes
        arena.lend(region)
        arena.cool(0)
        assert bytes(arena.view(region)[8:]) == b"x" * (region.nbytes - 8)


def test_neighbouring_holes_become_one() -> None:
    with an_arena() as arena:
        regions = [arena.allocate(1 << 18) for _ in range(4)]  # fill the first segment
        for region in (regions[2], regions[0], regions[3], regions[1]):
            arena.free(region)
        whole = arena.allocate(1 << 20)
        assert (whole.segment, whole.offset) == (regions[0].segment, 0)


@pytest.mark.parametrize("size", [LARGE, 100])
def test_a_region_that_is_alone_gives_its_memory_back(size: int) -> None:
    with an_arena() as arena:
        before = len(os.listdir("/proc/self/fd"))
        region = arena.allocate(size, alone=size < LARGE)
        assert region.is_alone
        assert region.nbytes >= size
        assert len(os.listdir("/proc/self/fd")) > before
        arena.free(region)
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_reader_sees_what_the_writer_wrote_and_the_other_way_round() -> None:
    with an_arena() as arena:
        region = arena.allocate(100)
        lens = reading(arena, region)
        arena.view(region)[:5] = b"hello"
        assert seen(lens, region)[:5] == b"hello"
        seen(lens, region)[:5] = b"reply"
        assert arena.view(region)[:5] == b"reply"


def test_a_private_mapping_shares_until_it_is_written_to() -> None:
    with an_arena() as arena:
        region = arena.allocate(8192, alone=True)
        arena.view(region)[:] = b"a" * region.nbytes
        lens = reading(arena, region)
        private = lens.private(region)
        assert private[:3] == b"aaa"
        private[0:1] = b"b"
        assert arena.view(region)[0:1] == b"a"
        assert private[:2] == b"ba"


def test_a_view_outlives_the_arena_and_the_lens() -> None:
    arena = Arena()
    region = arena.allocate(1000, alone=True)
    arena.view(region)[:3] = b"abc"
    lens = reading(arena, region)
    array = np.frombuffer(lens.source(region.segment), np.uint8, 3)
    lens.forget(region)
    arena.close()
    assert bytes(array) == b"abc"


def test_to_forget_a_shared_segment_keeps_it_mapped() -> None:
    with an_arena() as arena:
        region = arena.allocate(10)
        lens = reading(arena, region)
        lens.forget(region)
        assert len(seen(lens, region)) == region.nbytes


def test_freeing_takes_no_lock() -> None:
    """The garbage collector may free a region in a thread that is inside `allocate`."""
    with an_arena() as arena:
        region = arena.allocate(10)
        with arena._lock:
            thread = threading.Thread(target=arena.free, args=(region,))
            thread.start()
            thread.join(5)
            assert not thread.is_alive()


def test_threads_never_get_the_same_bytes() -> None:
    with an_arena() as arena:
        wrong: list[Region] = []

        def work(stamp: int) -> None:
            for size in range(1, 400):
                region = arena.allocate(size * 97)
                view = arena.view(region)
                view[:] = bytes([stamp]) * region.nbytes
                if set(view[::64]) != {stamp}:
                    wrong.append(region)
                arena.free(region)

        threads = [threading.Thread(target=work, args=(stamp,)) for stamp in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


@contextmanager
def limit(kind: int, value: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def test_memory_that_cannot_be_reserved_is_an_oserror_and_leaves_nothing() -> None:
    """A limit on file sizes stands in for a full machine, which no test should fill."""
    before = os.listdir("/proc/self/fd")
    with an_arena() as arena:
        with limit(resource.RLIMIT_FSIZE, 2 << 20), pytest.raises(OSError, match="File too large"):
            arena.allocate(3 << 20)
        assert arena.allocate(3 << 20).nbytes == 3 << 20
    assert os.listdir("/proc/self/fd") == before


def test_no_descriptor_left_is_an_oserror() -> None:
    lowest_free = os.dup(0)
    os.close(lowest_free)
    with limit(resource.RLIMIT_NOFILE, lowest_free), pytest.raises(OSError, match="Too many open files"):
        Segment.create(4096)


def test_a_segment_has_no_name_and_is_not_inherited() -> None:
    segment = Segment.create(4096)
    assert os.readlink(f"/proc/self/fd/{segment.fd}").startswith("/memfd:pocketflex")
    assert not os.get_inheritable(segment.fd)
    segment.close()
    segment.close()  # twice is once


# --- shrunk and lent ---------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 400_000), st.floats(0, 1), st.booleans()), max_size=30))
def test_what_is_shrunk_or_lent_keeps_its_bytes_until_it_is_released(steps: list[tuple[int, float, bool]]) -> None:
    with an_arena() as arena:
        lens, live = Lens(), []
        for stamp, (size, part, is_released) in enumerate(steps, 1):
            region = arena.allocate(size)
            region = arena.shrink(region, int(size * part))
            assert region.nbytes >= size * part - 1
            arena.view(region)[:] = bytes([stamp]) * region.nbytes
            arena.lend(region)
            live.append((region, stamp))
            if is_released:
                first, _ = live.pop(0)
                if not lens.knows(first.segment):
                    lens.add(first.segment, os.dup(arena.find(first.segment).fd))
                lens.release(first)
            for region, stamp in live:
                assert set(arena.view(region)[8 :: max(1, region.nbytes // 50)]) <= {stamp}
        for segment in arena.segments():
            lens.forget(segment)


@pytest.mark.parametrize("kept", [0, 1, 64, 1000, 4096])
def test_what_is_shrunk_away_is_used_again(kept: int) -> None:
    with an_arena() as arena:
        region = arena.shrink(arena.allocate(4096), kept)
        rest = arena.allocate(64)
        assert (region.offset, region.nbytes) == (0, max(64, -(-kept // 64) * 64))
        assert rest.offset == region.nbytes


@pytest.mark.parametrize("nbytes", [4096, 5000])
def test_nothing_is_shrunk_that_is_small_enough(nbytes: int) -> None:
    with an_arena() as arena:
        region = arena.allocate(4096)
        assert arena.shrink(region, nbytes) == region


def test_a_region_that_is_alone_is_not_shrunk() -> None:
    with an_arena() as arena:
        region = arena.allocate(8192, alone=True)
        assert arena.shrink(region, 64) == region


def test_a_region_that_is_lent_is_used_again_after_its_release_and_not_before() -> None:
    with an_arena() as arena:
        regions = [arena.allocate(1 << 18) for _ in range(4)]  # fill the first segment
        lens = reading(arena, regions[0])
        for region in regions:
            arena.lend(region)
        other = arena.allocate(1 << 18)
        assert other.segment != regions[0].segment
        lens.release(regions[2])
        arena.allocate((1 << 21) - (1 << 18))  # fill the second one, where there is room
        assert arena.allocate(1 << 18) == regions[2]
        lens.forget(regions[0].segment)


def test_what_is_lent_and_released_all_the_time_needs_no_new_memory() -> None:
    with an_arena() as arena:
        lens = reading(arena, arena.allocate(64))
        for _ in range(2000):
            region = arena.shrink(arena.allocate(100_000), 50_000)
            arena.lend(region)
            lens.release(region)
        assert arena.segments() == [1]
        lens.forget(1)


@pytest.mark.parametrize("size", [LARGE, 100_000])
def test_memory_of_a_region_that_is_alone_goes_with_its_release(size: int) -> None:
    """At once, as the writer may sleep for long; its descriptor when the writer needs room."""
    with an_arena() as arena:
        region = arena.allocate(size, alone=size < LARGE)
        arena.view(region)[:4096] = b"x" * 4096
        arena.lend(region)
        lens = reading(arena, region)
        assert os.fstat(arena.find(region.segment).fd).st_blocks * 512 >= size
        lens.release(region)
        assert os.fstat(arena.find(region.segment).fd).st_blocks == 0
        assert not lens.knows(region.segment)
        arena.allocate(64, alone=True)
        assert region.segment not in arena.segments()


def test_memory_that_nobody_reads_goes_although_it_is_still_mapped() -> None:
    with an_arena() as arena:
        region = arena.allocate(LARGE)
        lens = reading(arena, region)
        fd = os.dup(arena.find(region.segment).fd)
        arena.free(region, is_unread=True)
        assert os.fstat(fd).st_blocks == 0
        os.close(fd)
        lens.forget(region.segment)


def test_memory_that_is_still_read_stays_until_it_is_forgotten() -> None:
    with an_arena() as arena:
        region = arena.allocate(LARGE)
        arena.view(region)[:5] = b"hello"
        lens = reading(arena, region)
        arena.free(region)
        assert seen(lens, region)[:5] == b"hello"
        lens.forget(region.segment)


def test_a_segment_may_be_reserved_in_part() -> None:
    segment = Segment.create(1 << 20, reserved=8192)
    assert os.fstat(segment.fd).st_blocks * 512 == 8192
    assert len(segment.map) == 1 << 20
    segment.close()


@pytest.mark.parametrize("size", [LARGE, 1 << 40])
def test_more_than_there_is_left_is_refused_before_it_is_touched(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("pocketflex._engine.segments.available_memory", lambda: LARGE - 1)
    with an_arena() as arena, pytest.raises(OSError, match="bytes of shared memory are wanted and 33,554,432 are"):
        arena.allocate(size)
