"""A progress bar that counts items, by tqdm, in terminals and notebooks."""

from __future__ import annotations

import warnings
from typing import Any, Protocol

from ..errors import BackendUnavailableError


class Bar(Protocol):
    """The part of tqdm's bar that is used here."""

    def update(self, n: int) -> object:
        """Count `n` more items."""

    def close(self) -> object:
        """End the bar."""


class NoBar:
    """Stands for a bar when none is wanted."""

    def update(self, n: int) -> None:
        """Count nothing."""

    def close(self) -> None:
        """End nothing."""


def open_bar(wanted: bool, label: str, total: int | None) -> Bar:
    """Begin a bar, or nothing if it is not wanted.

    Args:
        wanted: The `progress` option.
        label: What the bar is for.
        total: How many items there are, None if that is unknown.

    Raises:
        BackendUnavailableError: tqdm is not installed.
    """
    if not wanted:
        return NoBar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tqdm warns of missing widgets and shows a text bar instead
            from tqdm.auto import tqdm

            bar: Any = tqdm(total=total, desc=label, unit="item")
            return bar  # type: ignore[no-any-return]
    except ImportError as error:
        raise BackendUnavailableError("progress=True needs tqdm: pip install tqdm") from error
