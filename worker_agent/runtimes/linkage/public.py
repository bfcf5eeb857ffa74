"""The linkage made of wasmtime's public wrappers: for every version, and for when the direct one does not fit."""

from collections.abc import Callable
from ctypes import addressof

from wasmtime import Caller, Engine, Func, FuncType, InstancePre, Linker, Memory, Module, Store, ValType

from piecework.worker_agent.runtimes.linkage import MEMORY, Allowance, HostFunction, find_memory


class PublicLinkage:
    """See ``Linkage``."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.guest_store: PublicGuestStore | None = None
        """Whose guest runs."""
        self._linker = Linker(engine)

    def define(self, module: str, name: str, parameters: str, call: HostFunction, *, answers: bool) -> None:
        kinds = [ValType.i32() if letter == "i" else ValType.i64() for letter in parameters]
        kind = FuncType(kinds, [ValType.i32()] if answers else [])
        self._linker.define_func(module, name, kind, self._serve(call), access_caller=True)

    def prepare(self, module: Module) -> "PublicPrepared":
        return PublicPrepared(self, self._linker.instantiate_pre(module), module)

    def _serve(self, call: HostFunction) -> Callable[..., int | None]:
        def serve(caller: Caller, *arguments: int) -> int | None:
            assert self.guest_store is not None
            if self.guest_store.memory is None:
                # A start function of the module calls before the host has seen the instance.
                found = caller.get(MEMORY)
                self.guest_store.memory = found if isinstance(found, Memory) else None
            return call(*arguments)

        return serve


class PublicPrepared:
    """See ``Prepared``."""

    def __init__(self, linkage: PublicLinkage, instance: InstancePre, module: Module) -> None:
        self._linkage = linkage
        self._instance = instance
        _, self._memory_at_start = find_memory(module)

    def open(self, allowance: Allowance) -> "PublicGuestStore":
        return PublicGuestStore(self._linkage, self._instance, allowance, self._memory_at_start)

    def close(self) -> None:
        self._instance.close()


class PublicGuestStore:
    """See ``GuestStore``."""

    def __init__(
        self, linkage: PublicLinkage, instance: InstancePre, allowance: Allowance, memory_at_start: int
    ) -> None:
        self.memory: Memory | None = None
        self.memory_at_start = memory_at_start
        self._located = (0, 0)
        self._linkage = linkage
        self._instance = instance
        self._store = Store(linkage.engine)
        self._store.set_limits(
            memory_size=allowance.memory_bytes,
            table_elements=allowance.table_elements,
            instances=1,
            tables=allowance.tables,
            memories=1,
        )
        self._store.set_epoch_deadline(1)
        if allowance.fuel is not None:
            self._store.set_fuel(allowance.fuel)

    def instantiate(self) -> None:
        self._linkage.guest_store = self
        self._exports = self._instance.instantiate(self._store).exports(self._store)
        memory = self._exports.get(MEMORY)
        self.memory = memory if isinstance(memory, Memory) else None

    def call(self, name: str, *arguments: int) -> int | None:
        self._linkage.guest_store = self
        function = self._exports[name]
        assert isinstance(function, Func)
        answer: int | None = function(self._store, *arguments)
        return answer

    def locate_memory(self) -> tuple[int, int]:
        if self.memory is None:
            return 0, 0
        size = self.memory.data_len(self._store)
        if size != self._located[1]:
            # It moves only when it grows.
            self._located = addressof(self.memory.data_ptr(self._store).contents), size
        return self._located

    def read_fuel(self) -> int:
        return self._store.get_fuel()

    def close(self) -> None:
        self._store.close()
