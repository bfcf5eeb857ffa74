"""How figures grow with depth, agents, slots and sizes: one module for each, with ``measure`` and ``table``."""

from collections.abc import Callable
from typing import Any

from harness.tables import Table

from scaling import blobs, depth, fleet, lanes, pollers, slots, starts, stores

TABLES: dict[str, Callable[[list[dict[str, Any]]], Table]] = {
    "depth": depth.table,
    "lanes": lanes.table,
    "agents": pollers.table,
    "fleet": fleet.table,
    "slots": slots.table,
    "blobs": blobs.table,
    "stores": stores.table,
    "starts": starts.table,
}
"""What writes the table of each part."""
