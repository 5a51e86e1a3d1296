"""Where a run took place: machine, Python, versions."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from .peers import PEERS

_ALSO = ("pocketflex", "numpy", "cloudpickle", "psutil")


def describe() -> dict[str, Any]:
    """The machine and the versions, for the JSON."""
    names = dict.fromkeys((*_ALSO, *(listing.distribution for listing in PEERS.values() if listing.distribution)))
    return {
        "python": sys.version.split()[0],
        "system": platform.platform(terse=True),
        "processor": _processor(),
        "cpus": psutil.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "native core": _is_native(),
        "versions": {name: found for name in names if (found := _version(name))},
    }


def _is_native() -> bool:
    try:
        from pocketflex._engine.native import IS_NATIVE
    except ImportError:  # a version from before there was one
        return False
    return IS_NATIVE


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
