"""What the caller's process listens to, of all that items say: levels of loggers, filters of warnings, where prints go.

It goes to the workers with where the caller stands, whenever it has changed; so a record that nobody would
handle is not made there either, and a warning that is an error is one in the item.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from typing import Any

from .transport import Ears, Filter

_MARK = "pocketflex"  # in the cache of the root logger, which every change of any level clears


class Listening:
    """What this process listens to, looked at again where it may have changed."""

    def __init__(self) -> None:
        self._filters: list[Any] = []
        self._streams = False, False
        self._known = Ears()

    def look(self) -> Ears:
        """What this process listens to now; the same object as long as nothing has changed."""
        marks: Any = getattr(logging.root, "_cache", {})
        streams = _is_own(sys.stdout, sys.__stdout__), _is_own(sys.stderr, sys.__stderr__)
        if _MARK not in marks or streams != self._streams or warnings.filters != self._filters:
            marks[_MARK] = True  # first: what changes meanwhile is seen by the next look
            self._filters, self._streams = [*warnings.filters], streams
            ears = Ears(_levels(), logging.root.manager.disable, _plain_filters(self._filters), *streams)
            self._known = self._known if ears == self._known else ears
        return self._known


def _is_own(stream: Any, standard: Any) -> bool:
    """Whether what is printed goes elsewhere than to the descriptor that workers have inherited."""
    return stream is not None and stream is not standard


def _levels() -> tuple[tuple[str, int], ...]:
    loggers = [*logging.root.manager.loggerDict.items()]
    named = [(name, one.level) for name, one in loggers if isinstance(one, logging.Logger) and one.level]
    return ("root", logging.root.level), *sorted(named)


def _plain_filters(filters: list[Any]) -> tuple[Filter, ...]:
    """The filters without classes and patterns: a worker is not to import what it does not need."""
    return tuple(
        (action, _source(message), (category.__module__, category.__qualname__), _source(module), line)
        for action, message, category, module, line in filters
    )


def _source(pattern: Any) -> Any:
    return (pattern.pattern, pattern.flags) if isinstance(pattern, re.Pattern) else pattern
