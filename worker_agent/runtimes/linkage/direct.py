"""The linkage that calls wasmtime's C API, without the wrappers. ``choice`` decides whether it may be used."""

from collections.abc import Callable, Sequence
from ctypes import addressof, c_int32, c_int64
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from wasmtime import Engine, FuncType, InstancePre, Linker, Module, ValType

from piecework.worker_agent.runtimes.linkage import MEMORY, Allowance, HostFunction, capi, find_memory


class _Export(NamedTuple):
    """An exported function."""

    place: int
    """Among all exports."""
    values: Any
    """Array for its parameters and results."""
    values_at: int
    size: int
    """Of values: as many as it has parameters or results."""
    parameters: int
    answer: type[c_int32 | c_int64] | None
    """The type of its result."""


class _Values(Protocol):
    """A pointer to an array of values, as a host function gets it."""

    def __getitem__(self, index: int) -> int: ...

    def __setitem__(self, index: int, value: int) -> None: ...


class DirectLinkage:
    """See ``Linkage``."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.engine_at = capi.find_address(engine)
        self.guest_store: DirectGuestStore | None = None
        """Whose guest runs."""
        self.failure: BaseException | None = None
        """What a host function raised."""
        self._linker = Linker(engine)
        self._callbacks: list[Any] = []
        """wasmtime has only their addresses: here they are kept alive."""

    def define(self, module: str, name: str, parameters: str, call: HostFunction, *, answers: bool) -> None:
        kinds = [ValType.i32() if letter == "i" else ValType.i64() for letter in parameters]
        kind = FuncType(kinds, [ValType.i32()] if answers else [])
        callback = capi.Callback(self._serve(parameters, call, answers=answers))
        self._callbacks.append(callback)
        capi.define(self._linker, module, name, kind, callback)

    def prepare(self, module: Module) -> "DirectPrepared":
        return DirectPrepared(self, self._linker.instantiate_pre(module), module)

    def _serve(self, parameters: str, call: HostFunction, *, answers: bool) -> Any:
        """Return what wasmtime calls: it must not raise."""
        read = _make_reader(parameters)

        def serve(_data: int, caller: int, values: _Values, _count: int) -> int | None:
            try:
                guest_store = self.guest_store
                if guest_store is not None and not guest_store.memory_at:
                    # A start function of the module calls before the host has seen the instance.
                    guest_store.find_memory_of(caller)
                answer = call(*read(values))
                if answers and answer is not None:
                    values[0] = answer
            except BaseException as failure:  # noqa: BLE001  # raised again when the guest has ended
                self.failure = failure
                trap: int = capi.trap_new(b"host function failed", 20)
                return trap
            return None

        return serve


class DirectPrepared:
    """See ``Prepared``."""

    def __init__(self, linkage: DirectLinkage, instance: InstancePre, module: Module) -> None:
        self.linkage = linkage
        self.at = capi.find_address(instance)
        self.exports = _Functions(module)
        self.memory_index, self.memory_at_start = find_memory(module)
        self._instance = instance

    def open(self, allowance: Allowance) -> "DirectGuestStore":
        return DirectGuestStore(self, allowance)

    def close(self) -> None:
        self._instance.close()


class DirectGuestStore:
    """See ``GuestStore``."""

    __slots__ = (
        "_context",
        "_linkage",
        "_located",
        "_prepared",
        "_room",
        "_room_at",
        "_store",
        "memory_at",
        "memory_at_start",
    )

    def __init__(self, prepared: DirectPrepared, allowance: Allowance) -> None:
        self.memory_at = 0
        """Where the description of its memory is; 0: it has none."""
        self.memory_at_start = prepared.memory_at_start
        self._located = (0, 0)
        self._prepared = prepared
        self._linkage = prepared.linkage
        self._room = capi.Room()
        self._room_at = addressof(self._room)
        self._store: int | None = capi.store_new(prepared.linkage.engine_at, None, None)
        self._context: int = capi.store_context(self._store)
        capi.store_limiter(self._store, allowance.memory_bytes, allowance.table_elements, 1, allowance.tables, 1)
        capi.set_epoch_deadline(self._context, 1)
        if allowance.fuel is not None:
            capi.raise_error(capi.set_fuel(self._context, allowance.fuel))

    def instantiate(self) -> None:
        linkage, room_at = self._linkage, self._room_at
        linkage.guest_store = self
        error = capi.instantiate(self._prepared.at, self._context, room_at, room_at + capi.TRAP)
        if error or self._room.trap:
            self._raise(error)
        index = self._prepared.memory_index
        if index is not None:
            self._fetch(index, capi.MEMORY)
            self.memory_at = room_at + capi.MEMORY + capi.OF

    def call(self, name: str, *arguments: int) -> int | None:
        export, room_at = self._prepared.exports[name], self._room_at
        if len(arguments) != export.parameters:
            raise TypeError(f"{name} takes {export.parameters} arguments")
        for place, argument in enumerate(arguments):
            export.values[2 * place] = argument
        self._linkage.guest_store = self
        self._fetch(export.place, capi.FUNCTION)
        function_at = room_at + capi.FUNCTION + capi.OF
        error = capi.call(self._context, function_at, export.values_at, export.size, room_at + capi.TRAP)
        if error or self._room.trap:
            self._raise(error)
        return export.answer(export.values[0]).value if export.answer else None

    def locate_memory(self) -> tuple[int, int]:
        if not self.memory_at:
            return 0, 0
        size = capi.memory_size(self._context, self.memory_at)
        if size != self._located[1]:
            # It moves only when it grows.
            self._located = capi.memory_data(self._context, self.memory_at), size
        return self._located

    def read_fuel(self) -> int:
        capi.raise_error(capi.get_fuel(self._context, self._room_at + capi.FUEL))
        return int(self._room.fuel)

    def find_memory_of(self, caller: int) -> None:
        """Note the memory of the instance that calls the host."""
        found = capi.get_export_of_caller(caller, MEMORY.encode(), len(MEMORY), self._room_at + capi.MEMORY)
        if found and self._room.memory.kind == capi.MEMORY_KIND:
            self.memory_at = self._room_at + capi.MEMORY + capi.OF

    def close(self) -> None:
        if self._store is not None:
            capi.store_delete(self._store)
            self._store = None
            self.memory_at = 0

    def _fetch(self, index: int, offset: int) -> None:
        at = self._room_at
        capi.get_export(self._context, at, index, at + capi.NAME, at + capi.NAME_SIZE, at + offset)

    def _raise(self, error: int | None) -> None:
        """Raise what ended the guest: an exception of a host function, an error, or a trap."""
        trap, self._room.trap = self._room.trap, None
        failure, self._linkage.failure = self._linkage.failure, None
        if failure is not None:
            if trap:
                capi.trap_delete(trap)
            if error:
                capi.error_delete(error)
            raise failure
        capi.raise_error(error)
        raise capi.make_trap(trap)


class _Functions(dict[str, _Export]):
    """The functions that a module exports, each described when it is called.

    Not before: asked for a type that it does not know, such as v128, wasmtime's C API ends the process.
    """

    def __init__(self, module: Module) -> None:
        super().__init__()
        self._kinds = {export.name: (index, export.type) for index, export in enumerate(module.exports)}

    def __missing__(self, name: str) -> _Export:
        index, kind = self._kinds[name]
        if not isinstance(kind, FuncType):
            raise KeyError(name)
        parameters, results = len(kind.params), kind.results
        count = max(parameters, len(results))
        values = (c_int64 * (2 * max(1, count)))()
        answer = (c_int64 if str(results[0]) == "i64" else c_int32) if results else None
        self[name] = _Export(index, values, addressof(values), count, parameters, answer)
        return self[name]


def _make_reader(parameters: str) -> Callable[[_Values], Sequence[int]]:
    """Return a function that reads arguments of these types from an array of values."""
    places = [capi.VALUE_WORDS * place for place in range(len(parameters))]
    if len(places) > 1 and parameters.count("I") <= 1:
        return _make_quick_reader(places, parameters.find("I"))

    def read(values: _Values) -> list[int]:
        return [
            values[place] if letter == "i" else (values[place] & 0xFFFF_FFFF) | (values[place + 1] << 32)
            for place, letter in zip(places, parameters, strict=True)
        ]

    return read


def _make_quick_reader(places: list[int], long: int) -> Callable[[_Values], Sequence[int]]:
    """Return one for several arguments, of which the one at ``long`` is an i64; -1: none is."""
    if long < 0:
        return itemgetter(*places)
    both = [*places[: long + 1], places[long] + 1, *places[long + 1 :]]
    get: Callable[[_Values], tuple[int, ...]] = itemgetter(*both)

    def read(values: _Values) -> tuple[int, ...]:
        words = get(values)
        return (*words[:long], (words[long] & 0xFFFF_FFFF) | (words[long + 1] << 32), *words[long + 2 :])

    return read
