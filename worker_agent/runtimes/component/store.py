"""The store of one component, whoever its host is."""

from typing import Self

from wasmtime import Engine, Store, WasmtimeError
from wasmtime.component import ExportIndex, Func, Instance

from piecework.worker_agent.runtimes.linkage import Allowance

INSTANCES = 1000
"""Core modules and components that one guest may consist of."""


class ComponentStore:
    """One run of a component: what is to be opened, and then the store."""

    memory_at_start = 0
    instance: Instance

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, allowance: Allowance) -> Self:
        self.store = Store(self._engine)
        # The limit holds for each memory: one memory, one limit.
        self.store.set_limits(
            memory_size=allowance.memory_bytes,
            table_elements=allowance.table_elements,
            instances=INSTANCES,
            tables=allowance.tables,
            memories=1,
        )
        self.store.set_epoch_deadline(1)
        if allowance.fuel is not None:
            self.store.set_fuel(allowance.fuel)
        return self

    def find(self, entry: ExportIndex) -> Func:
        """Return an exported function. Raises WasmtimeError when it is none."""
        function = self.instance.get_func(self.store, entry)
        if function is None:
            raise WasmtimeError("the export is not a function")
        return function

    def locate_memory(self) -> tuple[int, int]:
        return 0, 0

    def read_fuel(self) -> int:
        return self.store.get_fuel()

    def close(self) -> None:
        self.store.close()
