"""What a run did and what went wrong, in words: text for people, made from records and exceptions."""

from __future__ import annotations

import re
import sysconfig
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..outcome import Failure, RemoteTraceback
from .report import BatchRecord, Report

_PACKAGE = Path(__file__).parents[1]
_EXAMPLES = _PACKAGE / "examples"  # user's code in spirit
_LIBRARIES = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>.+)')

Frame = tuple[str, int, str]  # file, line, function


def summary(report: Report, model: str, seconds: float, shared: Mapping[Any, Any]) -> str:
    """A line for each batch, then one for the run, and the first failure that its final state has."""
    width = max((len(batch.label) for batch in report.batches), default=0)
    lines = [f"  {batch.label:{width}}  {batch_line(batch)}" for batch in report.batches]
    failed = f", {report.failures:,} failed" if report.failures else ""
    lines.append(f"{model}: {count(report.items, 'item')} in {duration(seconds)}{failed}")
    return "\n".join([*lines, *_first_failure(report, shared)])


def comparison(
    models: Sequence[str], reports: Sequence[Report], seconds: Sequence[float], shared: Mapping[Any, Any]
) -> str:
    """A line for each of two runs of the same flow, how much faster the second was, and its first failure."""
    width = max(map(len, models))
    lines = [
        f"{model:{width}}  {duration(time):>10}  {count(report.items, 'item')}, {count(report.workers, 'worker')}"
        + (f", {report.failures:,} failed" if report.failures else "")
        for model, report, time in zip(models, reports, seconds, strict=True)
    ]
    lines.append(f"{'speed-up':{width}}  {seconds[0] / seconds[1]:9.2f}x")
    return "\n".join([*lines, *_first_failure(reports[1], shared)])


def batch_line(batch: BatchRecord) -> str:
    """Items, time, rate, workers and failures of one batch."""
    computed = batch.items - batch.resumed
    rate = f"{computed / batch.seconds:,.0f} items/s" if computed and batch.seconds else "none computed"
    failed = f"{batch.failures:,} failed" if batch.failures else "none failed"
    parts = [count(batch.items, "item"), duration(batch.seconds), rate, count(batch.workers, "worker"), failed]
    parts += [f"{batch.resumed:,} from the journal"] if batch.resumed else []
    return ", ".join(parts if batch.items else ["no items"])


def count(number: int, noun: str) -> str:
    """`number` and its noun, in the plural where that is right."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds as people read them."""
    if seconds < 0.1:
        return f"{seconds * 1000:.2g} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.2f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _first_failure(report: Report, shared: Mapping[Any, Any]) -> list[str]:
    """A line on the first failure that ``on_error="collect"`` has left in a list of the shared state, if any."""
    if not report.failures:
        return []
    lists = (value for value in shared.values() if isinstance(value, list))
    failure = next((entry for values in lists for entry in values if isinstance(entry, Failure)), None)
    return [f"  the first failure is item {failure.index}: {describe(failure.error)}"] if failure else []


def explain(error: BaseException) -> str:
    """An exception in a few lines: what, in which node and item, and where in the user's code."""
    lines = [describe(error), *getattr(error, "__notes__", ())]
    if frame := user_frame(error):
        file, line, function = frame
        lines.append(f"at {shown_path(file)}:{line} in {function}")
    return "\n  ".join(lines)


def describe(error: BaseException) -> str:
    """`Type: message`, the message cut to a few lines."""
    lines = str(error).strip().splitlines()
    text = "\n  ".join([*lines[:4], "…"] if len(lines) > 5 else lines)
    return f"{type(error).__name__}: {text[:800]}" if text else type(error).__name__


def user_frame(error: BaseException) -> Frame | None:
    """The innermost frame in the user's own code, else in a library of theirs, else that of the cause."""
    frames = [frame for frame in frames_of(error) if not _is_ours(frame[0])]
    own = [frame for frame in frames if not _is_library(frame[0])]
    if frames or error.__cause__ is None:
        return next(reversed(own or frames), None)
    return user_frame(error.__cause__)


def frames_of(error: BaseException) -> list[Frame]:
    """The frames of an exception, innermost last; those in the worker where it was raised in one."""
    if isinstance(error.__cause__, RemoteTraceback):
        last = error.__cause__.text.rpartition("Traceback (most recent call last)")[2]  # behind those of its causes
        return [(found["file"], int(found["line"]), found["function"]) for found in _FRAME.finditer(last)]
    return [(frame.filename, frame.lineno or 0, frame.name) for frame in traceback.extract_tb(error.__traceback__)]


def shown_path(file: str) -> str:
    """A path as short as it is from the current folder."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def _is_ours(file: str) -> bool:
    path = Path(file)
    return (path.is_relative_to(_PACKAGE) and not path.is_relative_to(_EXAMPLES)) or file.startswith("<frozen")


def _is_library(file: str) -> bool:
    return any(Path(file).is_relative_to(folder) for folder in _LIBRARIES)
