"""How guests and their host meet: the host's functions, fresh stores, calls, the guest's memory.

There are two linkages. ``public`` is made of what wasmtime's Python package offers; ``direct`` calls the C API
beneath it and is several times faster. They behave alike, and the same tests hold for both.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from wasmtime import Engine, MemoryType, Module

from piecework.modules import PAGE_BYTES

MEMORY = "memory"
"""The export that is a guest's memory, by convention."""

TABLES = 16
TABLE_ELEMENTS = 200_000
"""Of one guest. They live outside of the memory limit: at 8 bytes an element, all of them take 25 MB at most."""

HostFunction = Callable[..., int | None]
"""Takes the integers that the guest passed, which may be signed or not, and returns its answer.

Whatever it raises ends the guest, and is raised by ``GuestStore.instantiate`` or ``GuestStore.call``.
"""


class Allowance(NamedTuple):
    """What wasmtime holds a guest to."""

    memory_bytes: int
    tables: int
    table_elements: int
    """In all tables; 8 bytes each, outside of the memory."""
    fuel: int | None = None
    """None: the engine does not count it."""


class HeldStore(Protocol):
    """A fresh store for one guest, whatever the guest is. Must be closed."""

    memory_at_start: int
    """Bytes of the memory that its module begins with; 0 when there is none."""

    def locate_memory(self) -> tuple[int, int]:
        """Return the memory's address and size, as they are until the guest runs again; 0, 0 without one."""

    def read_fuel(self) -> int:
        """Return how much fuel is left."""

    def close(self) -> None:
        """End the guest and free what it had. Safe to repeat."""


class GuestStore(HeldStore, Protocol):
    """The store of a module."""

    def instantiate(self) -> None:
        """Make the instance, and run the module's start function.

        Raises Trap, WasmtimeError, and what the host's functions raise.
        """

    def call(self, name: str, *arguments: int) -> int | None:
        """Call an exported function whose parameters and result are integers. Raises as ``instantiate``."""


class Prepared(Protocol):
    """A module linked with the host's functions."""

    def open(self, allowance: Allowance) -> GuestStore:
        """Make a store for one guest, whose epoch ends when the engine's does."""

    def close(self) -> None:
        """Free it. Safe to repeat."""


class Linkage(Protocol):
    """The host's functions for the guests of one engine. One guest runs at a time."""

    engine: Engine

    def define(self, module: str, name: str, parameters: str, call: HostFunction, *, answers: bool) -> None:
        """Offer a function: ``parameters`` has ``i`` for each i32 and ``I`` for each i64; it answers an i32."""

    def prepare(self, module: Module) -> Prepared:
        """Link a module. Raises WasmtimeError when its imports are not there, or of other types."""


def find_memory(module: Module) -> tuple[int | None, int]:
    """Return the place of a module's memory among its exports, and its first size in bytes; None and 0 without."""
    for place, export in enumerate(module.exports):
        if export.name == MEMORY and isinstance(export.type, MemoryType) and not export.type.is_shared:
            return place, export.type.limits.min * PAGE_BYTES
    return None, 0


LinkageMaker = Callable[[Engine], Linkage]
