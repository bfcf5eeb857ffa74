"""Modules that are called rather than run: exports that take and give texts, with WASI preview 1 beneath them."""

from collections.abc import Callable

from wasmtime import Module

from piecework.modules import ModuleFacts
from piecework.worker_agent.runtimes.base import Build, Call, CallResult
from piecework.worker_agent.runtimes.compiling.toolchain import link
from piecework.worker_agent.runtimes.linkage import GuestStore, HostFunction, Linkage, Prepared
from piecework.worker_agent.runtimes.sandbox import Sandbox
from piecework.worker_agent.runtimes.streams import OutputFullError
from piecework.worker_agent.runtimes.verdict import GuestFailedError
from piecework.worker_agent.runtimes.wasi.errno import WasiError
from piecework.worker_agent.runtimes.wasi.guest import Guest, GuestExitError
from piecework.worker_agent.runtimes.wasi.host import OFFERED, WasiHost
from piecework.worker_agent.runtimes.wasi.memory import GuestMemory

_U32 = 0xFFFF_FFFF
STARTERS = ("_start", "_initialize")
"""The first of these that a module exports runs before anything else."""


class GuestInstance:
    """The guest of one call: its exports and its memory, with every access checked.

    Methods raise GuestFailedError where the guest broke the rules, and whatever ends a guest.
    """

    def __init__(self, guest_store: GuestStore, memory: GuestMemory, call: Call) -> None:
        self._guest_store = guest_store
        self._memory = memory
        self._call = call

    def call(self, name: str, *arguments: int) -> int:
        """Call an export and return its answer; 0 when it has none."""
        return self._guest_store.call(name, *arguments) or 0

    def read(self, pointer: int, size: int) -> bytes:
        """Return a copy of bytes that the guest points to."""
        try:
            return self._memory.read(pointer, size)
        except WasiError:
            raise _outside(pointer, size) from None

    def read_output(self, pointer: int, size: int, spare_bytes: int = 0) -> bytes:
        """Return bytes that are to be the output. Raises OutputFullError before it copies too much."""
        if size & _U32 > self._call.bounds.output_bytes + spare_bytes:
            raise OutputFullError
        return self.read(pointer, size)

    def log(self, pointer: int, size: int) -> None:
        """Append a line to the call's log."""
        try:
            for piece in self._memory.cut(pointer, size):
                self._call.log.write(piece)
        except WasiError:
            raise _outside(pointer, size) from None
        self._call.log.write(b"\n")

    def write(self, pointer: int, data: bytes) -> None:
        """Copy bytes to where the guest has room for them."""
        try:
            self._memory.write(pointer, data)
        except WasiError:
            raise _outside(pointer, len(data)) from None

    def write_u32(self, pointer: int, value: int) -> None:
        """Write a number, little endian."""
        self.write(pointer, (value & _U32).to_bytes(4, "little"))


class Reactor:
    """A linked module whose exports are called. One guest at a time."""

    def __init__(self, module: Module, facts: ModuleFacts, linkage: Linkage, build: Build) -> None:
        """Link a module with the functions that the linkage has, and preview 1. Raises LoadError."""
        self._wasi = WasiHost(linkage, {name for interface, name in facts.imports if interface in OFFERED})
        self._engine = linkage.engine
        self._module = module
        self._prepared: Prepared = link(linkage, module)
        self._build = build
        self._starter = next((name for name in STARTERS if name in facts.exports), None)

    def run(
        self, call: Call, use: Callable[[GuestInstance], None], meet: Callable[[GuestInstance], object]
    ) -> CallResult:
        """Make an instance and use it. ``meet`` is told of it before any of its code runs."""
        with Sandbox(self._engine, self._prepared.open, self._build, call) as sandbox:
            guest_store = sandbox.guest_store
            memory = GuestMemory(guest_store)
            body = GuestInstance(guest_store, memory, call)
            self._wasi.guest = Guest.start_beneath(call, memory)
            meet(body)
            try:
                return sandbox.run(lambda: self._enter(guest_store, body, use))
            finally:
                self._wasi.guest = None

    def close(self) -> None:
        """Free the compiled code. Safe to repeat."""
        self._prepared.close()
        self._module.close()

    def _enter(self, guest_store: GuestStore, body: GuestInstance, use: Callable[[GuestInstance], None]) -> None:
        guest_store.instantiate()
        try:
            if self._starter is not None:
                self._start(guest_store, self._starter)
            use(body)
        except GuestExitError as end:
            raise GuestFailedError(str(end)) from None

    @staticmethod
    def _start(guest_store: GuestStore, starter: str) -> None:
        try:
            guest_store.call(starter)
        except GuestExitError as end:
            # A command that ends well has registered its handler: its exports can be called.
            if end.code != 0:
                raise


def serve(name: str, call: HostFunction) -> HostFunction:
    """Return a host function that ends a guest which points outside of its memory, saying in which call."""

    def checked(*arguments: int) -> int | None:
        try:
            return call(*arguments)
        except OutsideError as error:
            raise GuestFailedError(f"in {name}: {error}") from None

    return checked


class OutsideError(GuestFailedError):
    """The guest points to a place outside of its memory."""


def _outside(pointer: int, size: int) -> OutsideError:
    return OutsideError(f"{size & _U32} bytes at {pointer & _U32} lie outside of the guest's memory")
