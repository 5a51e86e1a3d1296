"""The native core and its twin, in the place where the engine looks for one of them."""

from __future__ import annotations

from typing import Any

import pytest

from pocketflex._engine import native

from ..native.conftest import core as core


@pytest.fixture
def either(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine runs on the native core, and once more on its twin."""
    for name in native.__all__:
        if name != "IS_NATIVE":
            monkeypatch.setattr(native, name, getattr(core, name))
