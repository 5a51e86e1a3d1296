"""A batch with a journal: the executor runs what is missing, the rest comes from the journal.

    items ──▶ Missing ──▶ executor ──▶ kept in the journal, as soon as they are there ──▶ in their turn ──▶ outcomes
                 └─────────────── results that the journal has ──────────────────────────────▲

To the batch it is a run like that of an executor: outcomes by index, exactly one an item. A failure is not kept, so
its item is tried again by the next call.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from hashlib import sha256
from typing import Any

from ..errors import PocketflexError
from ..executors.base import Executor, Job, Run
from ..options import BatchOptions
from ..outcome import Failure, Outcomes, renumber
from .book import Head
from .code import parts_of, parts_of_flow
from .digests import NBYTES, digest_item
from .missing import ListedMissing, Missing, StreamedMissing
from .section import Section
from .shelf import Place, Shelf, as_journal

_STRETCH = 256  # results from the journal that are delivered at a time


Opened = tuple[Section, bytes | None]


def open_section(call: Any, items: Any, label: str, options: BatchOptions, place: Place) -> Opened:
    """The section of a batch, and the digests of its items one behind the other, None where they come as a stream.

    Raises:
        JournalError: The journal cannot be used, or is of other work.
    """
    is_listed = not isinstance(items, Iterator) and hasattr(items, "__len__")
    digests = b"".join(map(digest_item, items)) if is_listed else None
    head = Head(
        label,
        digest_item(dict(place.params)),
        parts_of_flow(*place.run, options) if place.run else parts_of(call, place.shelf.looked, options),
        None if digests is None else len(digests) // NBYTES,
        None if digests is None else sha256(digests).digest(),
    )
    return Section(place.shelf.take(options.resume), head, as_journal(options.resume).pickle), digests


def find_missing(items: Any, digests: bytes, section: Section) -> ListedMissing:
    """Which of items that are all there are not in the journal.

    Raises:
        JournalError: They are others than those of the journal.
    """
    missing = ListedMissing(items, digests, NBYTES, section)
    section.check_items(sha256(digests).digest())
    return missing


def begin(job: Job, options: BatchOptions, executor: Executor, place: Place | None) -> ResumedRun:
    """Begin a job with a journal, which without a `place` is its own and ends with it.

    Raises:
        JournalError: The journal cannot be used, or is of other work; nothing has run.
    """
    if place is not None:
        return _begin(job, options, executor, place)
    place = Place()
    try:
        run = _begin(job, options, executor, place)
    except BaseException:
        place.shelf.close()
        raise
    run.own = place.shelf
    return run


def _begin(job: Job, options: BatchOptions, executor: Executor, place: Place) -> ResumedRun:
    section, digests = open_section(job.call, job.items, job.label, options, place)
    missing: Missing
    if digests is None:
        missing = StreamedMissing(iter(job.items), section, options.ordered)
    else:
        missing = find_missing(job.items, digests, section)
    keeper = Keeper(missing, section)
    run = ResumedRun(missing, section, keeper, options.ordered)
    if missing.is_any:
        call, items = (job.call, missing.items) if options.seed is None else missing.numbered(job.call)
        inner = job._replace(call=call, items=items, is_array=False, target=None, waiting=None)
        inner = inner._replace(told=keeper.keep, index_of=missing.index)
        run.inner = executor.start(inner, replace(options, resume=None))
    return run


class Keeper:
    """Puts results into the journal. It knows nothing of the run, so that no circle keeps a forgotten one alive."""

    def __init__(self, missing: Missing, section: Section) -> None:
        self._missing = missing
        self._section = section

    def keep(self, run: Outcomes) -> None:
        """Put results into the journal that are not there yet; called as soon as they are there, from any thread."""
        failed = {failure.index for failure in run.failures}
        fresh = []
        for position, result in enumerate(run.results, run.start):
            if position not in failed and (digest := self._missing.take_digest(position)) is not None:
                fresh.append((self._missing.index(position), digest, result))
        self._section.put(fresh)
        if self._section.is_due:
            self._section.sync()


class ResumedRun:
    """A job under way, with its journal."""

    def __init__(self, missing: Missing, section: Section, keeper: Keeper, is_ordered: bool) -> None:
        self.inner: Run | None = None  # None: nothing is missing
        self.own: Shelf | None = None  # to be closed in the end
        self._missing = missing
        self._section = section
        self._keeper = keeper
        self._is_ordered = is_ordered
        self._is_cancelled = False

    @property
    def workers(self) -> int:
        """How many workers may take part."""
        return self.inner.workers if self.inner else 1

    @property
    def resumed(self) -> int:
        """How many results have come from the journal."""
        return self._section.resumed

    def cancel(self) -> None:
        """Stop the job from any thread."""
        self._is_cancelled = True
        if self.inner is not None:
            self.inner.cancel()

    def __iter__(self) -> Generator[Outcomes, None, None]:
        try:
            yield from self._in_order() if self._is_ordered else self._as_they_come()
            if self._missing.error is not None and not self._is_cancelled:
                raise self._missing.error
            self._section.sync()
        except BaseException:
            with suppress(OSError):  # what has ended the run is the error to tell
                self._section.sync()
            raise
        finally:
            if self.own is not None:
                self.own.close()

    def _in_order(self) -> Iterator[Outcomes]:
        due = 0
        while self._missing.skip() and not self._is_cancelled:
            yield from self._known(due, due := self._missing.read)
        for run in self._computed():
            yield from self._known(due, run.start)
            yield run
            due = run.start + len(run.results)
        if not self._is_cancelled:
            yield from self._known(due, self._missing.read)

    def _as_they_come(self) -> Iterator[Outcomes]:
        while self._missing.skip() and not self._is_cancelled:
            yield from self._met()
        yield from self._met()
        for run in self._computed():
            yield from self._met()
            yield run
        yield from self._met()

    def _met(self) -> Iterator[Outcomes]:
        known = self._missing.known
        while known and not self._is_cancelled:
            index = known.popleft()
            yield from self._known(index, index + 1)

    def _known(self, start: int, stop: int) -> Iterator[Outcomes]:
        """Results from the journal, of all items from `start` to `stop`."""
        for first in range(start, stop, _STRETCH):
            if self._is_cancelled:
                return
            yield Outcomes(first, [self._section.load(index) for index in range(first, min(first + _STRETCH, stop))])

    def _computed(self) -> Iterator[Outcomes]:
        """The outcomes of what was missing, under the indexes of all items, a stretch of neighbours at a time."""
        if self.inner is None:
            return
        with closing(iter(self.inner)) as runs:
            for run in runs:
                self._keeper.keep(run)
                failures = {failure.index: failure for failure in run.failures}
                positions = range(run.start, run.start + len(run.results))
                indexes = [self._missing.index(position) for position in positions]
                self._missing.drop(positions)
                for begin, end in _stretches(indexes):
                    yield _numbered(run, begin, end, indexes[begin], failures)


def _stretches(indexes: list[int]) -> Iterator[tuple[int, int]]:
    begin = 0
    for at in range(1, len(indexes) + 1):
        if at == len(indexes) or indexes[at] != indexes[at - 1] + 1:
            yield begin, at
            begin = at


def _numbered(run: Outcomes, begin: int, end: int, start: int, failures: dict[int, Failure]) -> Outcomes:
    """A part of `run`, under the indexes from `start` on."""
    results, found = run.results[begin:end], []
    for position in failures.keys() & set(range(run.start + begin, run.start + end)) if failures else ():
        index = start + position - run.start - begin
        found.append(_renamed(failures[position], index))
        results[index - start] = found[-1]
    return Outcomes(start, results, tuple(sorted(found, key=lambda failure: failure.index)))


def _renamed(failure: Failure, index: int) -> Failure:
    """A failure of the item with that index; the engine's own messages name it as well."""
    error = failure.error
    if isinstance(error, PocketflexError) and failure.kind != "exception" and error.args:
        text = re.sub(rf"\bitem {failure.index}\b", f"item {index}", str(error.args[0]), count=1)
        error.args = (text, *error.args[1:])
    return renumber(failure, index)
