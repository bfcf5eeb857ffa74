"""The host side of WASI preview 1: every function of the interface, for the one guest that runs now.

Source: the witx files of WASI snapshot preview 1.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from wasmtime import Caller, Engine, FuncType, Linker, Memory, ValType

from worker_agent.runtimes.wasi import file_calls, poll_calls, process_calls
from worker_agent.runtimes.wasi.errno import WasiError
from worker_agent.runtimes.wasi.guest import Guest, HostCall

INTERFACE = "wasi_snapshot_preview1"
CALLS = process_calls.CALLS | file_calls.CALLS | poll_calls.CALLS
WITHOUT_ANSWER = frozenset({"proc_exit"})


class WasiHost:
    """Gives the guests of one engine their imports. Serves one guest at a time, in one thread."""

    def __init__(self, engine: Engine) -> None:
        self.linker = Linker(engine)
        self._guest: Guest | None = None
        for name, (parameters, call) in CALLS.items():
            kinds = [ValType.i32() if letter == "i" else ValType.i64() for letter in parameters]
            results = [] if name in WITHOUT_ANSWER else [ValType.i32()]
            function = self._serve(call)
            self.linker.define_func(INTERFACE, name, FuncType(kinds, results), function, access_caller=True)

    @contextmanager
    def serving(self, guest: Guest) -> Iterator[None]:
        """Answer the calls of this guest within the block."""
        self._guest = guest
        try:
            yield
        finally:
            self._guest = None

    def _serve(self, call: HostCall) -> Callable[..., int | None]:
        def serve(caller: Caller, *arguments: int) -> int | None:
            guest = self._guest
            assert guest is not None
            if guest.memory.memory is None:
                # A start function of the module calls before the host has seen the instance.
                found = caller.get("memory")
                guest.memory.memory = found if isinstance(found, Memory) else None
            guest.memory.refresh()
            try:
                return call(guest, *arguments)
            except WasiError as error:
                return error.errno

        return serve
