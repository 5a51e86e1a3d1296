"""What others may have imported, or be about to."""

from __future__ import annotations

import sys
from typing import Any


def loaded(name: str) -> Any:
    """A module that has been imported, else None: also while another thread is in the middle of importing it."""
    module = sys.modules.get(name)
    is_unfinished = getattr(getattr(module, "__spec__", None), "_initializing", False)
    return None if is_unfinished else module
