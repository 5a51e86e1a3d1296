"""The native core, or its twin in Python where it was not built: the only importer of both.

Two variables of the environment decide otherwise: ``POCKETFLEX_NO_NATIVE=1`` takes the twin, and
``POCKETFLEX_REQUIRE_NATIVE=1`` refuses to go on without the native core. The spawner is started with the
parent's choice, and so are the workers: the twin claims under a lock of which the native core knows nothing.
"""

from __future__ import annotations

import os

try:
    if os.environ.get("POCKETFLEX_NO_NATIVE") == "1":
        raise ImportError("POCKETFLEX_NO_NATIVE=1 forbids it")
    from .. import _native as _core
except ImportError as _missing:
    if os.environ.get("POCKETFLEX_REQUIRE_NATIVE") == "1":
        raise ImportError(
            f"POCKETFLEX_REQUIRE_NATIVE=1, but the native core of pocketflex cannot be loaded: {_missing}. "
            "Install a C compiler and then pocketflex again, or unset the variable to go on in Python"
        ) from _missing
    from . import twin as _core  # type: ignore[no-redef]

__all__ = [
    "IS_NATIVE",
    "LEDGER_WORDS",
    "admit",
    "alike",
    "are_plain",
    "await_each",
    "build",
    "call_each",
    "call_uncollected",
    "claim",
    "decode",
    "encode",
    "fence",
    "fetch",
    "fetch_bytes",
    "hand_back",
    "load",
    "locate",
    "owned",
    "publish",
    "spin",
    "stack",
    "store",
]

IS_NATIVE: bool = _core.__name__ == "pocketflex._native"
LEDGER_WORDS = _core.LEDGER_WORDS
admit = _core.admit
alike = _core.alike
are_plain = _core.are_plain
await_each = _core.await_each
build = _core.build
call_each = _core.call_each
call_uncollected = _core.call_uncollected
claim = _core.claim
decode = _core.decode
encode = _core.encode
fence = _core.fence
fetch = _core.fetch
fetch_bytes = _core.fetch_bytes
hand_back = _core.hand_back
load = _core.load
locate = _core.locate
owned = _core.owned
publish = _core.publish
spin = _core.spin
stack = _core.stack
store = _core.store
