"""The shared state in a JSON file: what ``--input`` reads and ``--output`` writes.

JSON holds less than Python does. What has a natural form is written in it: dataclasses and named
tuples as objects, sets as lists, arrays as nested lists, bytes as ``{"base64": ...}``, paths and
dates as strings, an exception as ``Type: message``. Anything else is written as its `repr`, and its
place is reported, so that nobody takes the text for the value.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from .errors import StateFileError
from .modules import loaded

_PLAIN = (str, int, float, bool, type(None))
_DATES = (datetime.date, datetime.time)  # a datetime is a date


def read_state(path: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        StateFileError: The file is missing, is not JSON, or holds something else.
    """
    try:
        state = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise StateFileError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise StateFileError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(state, dict):
        raise StateFileError(f"{path} must hold an object, {{...}}, but holds a {type(state).__name__}")
    return state


def check_writable(path: str) -> None:
    """Raise StateFileError if `path` cannot be written: better known before hours of work than after."""
    try:
        is_new = not Path(path).exists()
        Path(path).open("ab").close()
        if is_new:
            Path(path).unlink()
    except OSError as error:
        raise StateFileError(f"{path} cannot be written: {error.strerror}") from None


def write_state(state: Any, path: str) -> list[str]:
    """Write `state` to a JSON file; returns the places of the values that were written as their repr."""
    form = JsonForm()
    text = json.dumps(form.of(state, "shared"), indent=2)  # all of it, before the old file is lost
    Path(path).write_text(text + "\n", encoding="utf-8")
    return form.unheld


class JsonForm:
    """Turns values into what `json.dumps` takes; `unheld` lists the places of those that have no form."""

    def __init__(self) -> None:
        self.unheld: list[str] = []
        self._open: set[int] = set()  # the containers around the current value: a circle ends at one of them

    def of(self, value: Any, where: str) -> Any:
        """The JSON form of `value`, which is found at `where`."""
        if type(value) in _PLAIN:
            return value
        if id(value) in self._open:
            return self._repr(value, where)
        self._open.add(id(value))
        try:
            return self._form(value, where)
        finally:
            self._open.discard(id(value))

    def _form(self, value: Any, where: str) -> Any:
        if isinstance(value, enum.Enum):
            return self.of(value.value, where)
        if (fields := _fields(value)) is not None:
            return {_key(key): self.of(entry, f"{where}[{key!r}]") for key, entry in fields.items()}
        if isinstance(value, list | tuple):
            return self._list(value, where)
        if isinstance(value, set | frozenset):
            return self._list(sorted(value, key=repr), where)  # a set has no order: make files comparable
        return self._scalar(value, where)

    def _list(self, values: Iterable[Any], where: str) -> list[Any]:
        return [self.of(entry, f"{where}[{index}]") for index, entry in enumerate(values)]

    def _scalar(self, value: Any, where: str) -> Any:
        if isinstance(value, bytes | bytearray):
            return {"base64": base64.b64encode(value).decode()}
        if isinstance(value, PurePath):
            return str(value)
        if isinstance(value, _DATES):
            return value.isoformat()
        if isinstance(value, BaseException):
            return f"{type(value).__name__}: {value}"
        if _is_numpy(value) and type(form := value.tolist()) is not type(value):  # a longdouble stays one
            return self.of(form, where)
        base = next((kind for kind in (str, int, float) if isinstance(value, kind)), None)
        return base(value) if base else self._repr(value, where)

    def _repr(self, value: Any, where: str) -> str:
        self.unheld.append(f"{where} ({type(value).__name__})")
        return repr(value)


def _fields(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # the documented sign of a named tuple
        return dict(zip(value._fields, value, strict=True))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _key(key: Any) -> Any:
    return key if type(key) in _PLAIN else str(key)


def _is_numpy(value: Any) -> bool:
    numpy = loaded("numpy")  # where nobody imported it there is no value of it
    return numpy is not None and isinstance(value, numpy.ndarray | numpy.generic)
