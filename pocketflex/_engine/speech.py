"""How items speak in a worker: what they print, log and warn of is caught, and said to the parent (voice.py)."""

from __future__ import annotations

import io
import logging
import os
import pickle
import re
import sys
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TextIO

from . import by_value, failures, payload
from .transport import Ears
from .voice import Kind, Voice

_PLAIN = (str, int, float, bool, type(None))
_LINE = 1 << 13  # characters without an end of line that are kept


class Stream(io.TextIOBase):
    """Stands for a standard stream: says whole lines to the parent."""

    def __init__(self, voice: Voice, kind: Kind, original: TextIO) -> None:
        """Say text as `kind`; `original` is what this worker has inherited."""
        self._voice = voice
        self._kind = kind
        self._original = original
        self._parts: deque[str] = deque()  # threads of an item may write at once: nothing but appended and popped
        self._length = 0

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a class attribute of the base
        """What text would be encoded to, if it were."""
        return "utf-8"

    @property
    def buffer(self) -> Any:
        """Where bytes go: to the descriptor, as what C code prints."""
        return self._original.buffer

    def fileno(self) -> int:
        """The descriptor of what this worker has inherited, for programs that items start."""
        return self._original.fileno()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Say it, with the rest of its line."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._parts.append(text)
        self._length += len(text)
        if "\n" in text or "\r" in text or self._length > _LINE:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Say what there is."""
        self._length = 0
        if text := "".join(_drained(self._parts)):
            self._voice.say(self._kind, text)

    def close(self) -> None:
        """Nothing: the next item prints too."""
        self.flush()


def _drained(parts: deque[str]) -> Iterator[str]:
    with suppress(IndexError):
        while True:
            yield parts.popleft()


class RecordSayer(logging.Handler):
    """The handler of the worker's root logger."""

    def __init__(self, voice: Voice) -> None:
        super().__init__()
        self._voice = voice

    def emit(self, record: logging.LogRecord) -> None:
        """Say a record; its message is made here if its arguments are not plain."""
        try:
            self._voice.say(Kind.LOG, dump_record(record))
        except Exception:
            self.handleError(record)


def dump_record(record: logging.LogRecord) -> bytes:
    """A logging record as bytes that are sure to load in the parent."""
    state = dict(record.__dict__)
    args = record.args
    if type(record.msg) is not str or not (args is None or (type(args) is tuple and _are_plain(args))):
        state["msg"], state["args"] = record.getMessage(), None
    if record.exc_info and not record.exc_text:
        state["exc_text"] = logging.Formatter().formatException(record.exc_info)
    state["exc_info"] = None  # a traceback cannot be carried; its text can
    extras = {name: value for name, value in state.items() if name != "args" and type(value) not in _PLAIN}
    for name, value in extras.items():
        state[name] = _carried(value)
    return pickle.dumps((state, tuple(extras)), protocol=5)


def _carried(value: Any) -> tuple[bytes | None, str]:
    """A value of the user's, pickled if that can be loaded, and what stands for it if not."""
    try:
        shown = repr(value)
    except Exception as error:
        shown = f"({type(value).__name__} without a repr: {type(error).__name__})"
    try:
        data = by_value.dump(value, gives_back=True)
        payload.load(data)
    except Exception:
        return None, shown
    return data, shown


def _are_plain(values: Any) -> bool:
    return all(type(value) in _PLAIN for value in values)


class Speech:
    """Catches what items say, as far as the parent listens."""

    def __init__(self, voice: Voice) -> None:
        """Begin to catch records and warnings; before any module of the user's is imported."""
        self._voice = voice
        self._ears = Ears()
        self._originals = sys.stdout, sys.stderr
        self._streams: list[Stream] = []
        self._has_warned = False
        self._handler = RecordSayer(voice)
        logging.root.addHandler(self._handler)  # so `basicConfig` of a module that a worker imports does nothing
        warnings.showwarning = self._warn
        os.register_at_fork(after_in_child=self._part)

    def tune(self, ears: Ears) -> None:
        """Catch what the parent listens to."""
        if ears == self._ears:
            return
        before, self._ears = self._ears, ears
        if ears[:2] != before[:2]:
            _set_levels(before, ears)
        if ears.filters != before.filters:
            warnings.filters[:] = [rule for rule in map(_filter, ears.filters) if rule]  # type: ignore[index]
            self._has_warned = True
        self._streams = []
        for name, original, kind, is_wanted in (
            ("stdout", self._originals[0], Kind.OUT, ears.has_stdout),
            ("stderr", self._originals[1], Kind.ERR, ears.has_stderr),
        ):
            stream = Stream(self._voice, kind, original) if is_wanted else original
            self._streams += [stream] if isinstance(stream, Stream) else []
            setattr(sys, name, stream)

    def begin(self) -> None:
        """A job begins: what former ones have warned of may be warned of again, once, if the parent wants it."""
        if self._has_warned:
            self._has_warned = False
            with warnings.catch_warnings():  # which forgets all that has been warned of, and keeps the filters
                pass

    def flush(self) -> None:
        """Say what is left of lines, and send everything."""
        for stream in self._streams:
            stream.flush()
        self._voice.flush()

    def _warn(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """What `warnings.showwarning` is in a worker."""
        self._has_warned = True
        error = message if isinstance(message, Warning) else category(message)
        module = _module_of(filename, lineno)
        state = failures.dump_error(error).pickle, category.__name__, str(message), filename, lineno, module
        self._voice.say(Kind.WARNING, pickle.dumps(state, protocol=5))

    def _part(self) -> None:
        """In a child that an item has forked: it speaks for itself, as a process of its own."""
        logging.root.handlers[:] = [one for one in logging.root.handlers if one is not self._handler]
        warnings.showwarning = _SHOW
        for name, original in zip(("stdout", "stderr"), self._originals, strict=True):
            if isinstance(getattr(sys, name), Stream):
                setattr(sys, name, original)


_SHOW = warnings.showwarning


def _set_levels(before: Ears, ears: Ears) -> None:
    """Give loggers the parent's levels; those that the parent has none for, and a former call had, lose it."""
    logging.root.manager.disable = ears.disabled
    wanted = dict(ears.levels)
    for name in dict(before.levels).keys() - wanted.keys():
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name, level in wanted.items():
        logging.getLogger(name).setLevel(level)


def _filter(rule: Any) -> Any:
    """A filter of warnings as Python has it; None where its class is not loaded here, so nothing is of that class."""
    action, message, (module, name), place, line = rule
    category: Any = sys.modules.get(module)
    for part in name.split("."):
        category = getattr(category, part, None)
    if not isinstance(category, type):
        return None
    return action, _pattern(message), category, _pattern(place), line


def _pattern(source: Any) -> Any:
    return re.compile(*source) if isinstance(source, tuple) else source


def _module_of(filename: str, lineno: int) -> str | None:
    """The module that a warning is about, which filters may name: that of the frame there."""
    with suppress(ValueError):
        depth = 1
        while True:
            frame = sys._getframe(depth)
            if frame.f_code.co_filename == filename and frame.f_lineno == lineno:
                name = frame.f_globals.get("__name__")
                return name if isinstance(name, str) else None
            depth += 1
    return None
