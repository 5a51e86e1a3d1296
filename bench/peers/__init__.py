"""The peers, in a lazy table: a peer's package is imported in the peer's own process only.

To add one, write a `Peer` in a file of this package and name it here.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .peer import Peer


@dataclass(frozen=True)
class Listing:
    """An entry of the table.

    Attributes:
        title: Its name in reports.
        module: File of this package.
        factory: What makes the peer, in that file.
        package: What must be importable; empty for the standard library.
        distribution: What to install for that.
    """

    title: str
    module: str
    factory: str
    package: str = ""
    distribution: str = ""

    @property
    def is_installed(self) -> bool:
        """Whether its package can be imported."""
        return not self.package or find_spec(self.package) is not None


PEERS: dict[str, Listing] = {
    "serial": Listing("list comprehension", "plain", "Serial"),
    "map": Listing("map()", "plain", "BuiltinMap"),
    "pocketflex": Listing("pocketflex", "own", "Pocketflex"),
    "pocketflex-inside": Listing("pocketflex isolate=False", "own", "inside"),
    "pocketflex-array": Listing('pocketflex output="array"', "own", "in_array"),
    "pocketflex-64": Listing("pocketflex max_workers=64", "own", "crowded"),
    "by-hand": Listing("two processes by hand", "by_hand", "ByHand"),
    "threads": Listing("threads", "plain", "Threads"),
    "pool": Listing("multiprocessing.Pool", "stdlib", "Pool"),
    "executor": Listing("ProcessPoolExecutor", "stdlib", "Executor"),
    "joblib": Listing("joblib", "pools", "Joblib", "joblib", "joblib"),
    "mpire": Listing("mpire", "pools", "Mpire", "mpire", "mpire"),
    "pebble": Listing("pebble", "pools", "Pebble", "pebble", "pebble"),
    "pathos": Listing("pathos", "pools", "Pathos", "pathos", "pathos"),
    "ray": Listing("Ray", "clusters", "Ray", "ray", "ray"),
    "dask": Listing("Dask", "clusters", "Dask", "distributed", "distributed"),
    "pocketflex-async": Listing("pocketflex async", "event_loop", "PocketflexAsync"),
    "awaiting": Listing("await in a loop", "event_loop", "Awaiting"),
    "gather": Listing("asyncio.gather", "event_loop", "Gather"),
    "group": Listing("TaskGroup + Semaphore", "event_loop", "Group"),
    "pocketflow": Listing("PocketFlow", "event_loop", "PocketFlow", "pocketflow", "pocketflow"),
    "aiometer": Listing("aiometer", "event_loop", "Aiometer", "aiometer", "aiometer"),
}
POOLS = ("pool", "executor", "joblib", "mpire", "pebble", "pathos")
CLUSTERS = ("ray", "dask")
PROCESSES = (*POOLS, *CLUSTERS)
LOOPS = ("gather", "group", "pocketflow", "aiometer")
ALWAYS = ("serial", "by-hand", "awaiting", *(name for name in PEERS if name.startswith("pocketflex")))


def make_peer(name: str) -> Peer:
    """Import a peer's package and make the peer, not yet opened.

    Raises:
        ImportError: The package is not installed.
    """
    listing = PEERS[name]
    peer: Peer = getattr(import_module(f".{listing.module}", __name__), listing.factory)()
    return peer
