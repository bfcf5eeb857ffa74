"""One fresh store for one call of a wasm guest: its limits, its end, what it used."""

import hashlib
import time
from collections.abc import Callable
from ctypes import c_ubyte
from typing import Generic, Self, TypeVar

from wasmtime import Engine, Trap, WasmtimeError

from piecework.protocol.messages import Digests, JobError, Usage
from piecework.worker_agent.runtimes.base import Build, Call, CallResult
from piecework.worker_agent.runtimes.linkage import TABLE_ELEMENTS, TABLES, Allowance, HeldStore
from piecework.worker_agent.runtimes.stopping import StoppedError
from piecework.worker_agent.runtimes.streams import OutputFullError, ScratchError
from piecework.worker_agent.runtimes.verdict import GuestFailedError, MemoryUse, blame_host, has_exact_fuel, judge

ALL_FUEL = 2**63 - 1
"""Fuel of a metered call that may use as much as it wants."""


S = TypeVar("S", bound=HeldStore)


class Sandbox(Generic[S]):
    """A store that holds one guest to its bounds. Must be closed; use it with ``with``."""

    def __init__(self, engine: Engine, open_store: Callable[[Allowance], S], build: Build, call: Call) -> None:
        self._engine = engine
        self._call = call
        self._fuel: int | None = None
        if build.metered:
            self._fuel = ALL_FUEL if call.bounds.fuel is None else call.bounds.fuel
        self.guest_store = open_store(Allowance(call.bounds.memory_bytes, TABLES, TABLE_ELEMENTS, self._fuel))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.guest_store.close()

    def run(self, guest: Callable[[], None]) -> CallResult:
        """Run guest code, whatever it does, and return how it ended."""
        wall_started, self._call.cpu_started_s = time.perf_counter(), time.thread_time()
        error: JobError | None = None
        counted, exit_code = True, 0
        try:
            self._call.stop.run(guest, self._engine.increment_epoch)
        except (Trap, WasmtimeError, GuestFailedError, StoppedError, OutputFullError, ScratchError) as failure:
            counted = has_exact_fuel(failure)
            exit_code = failure.exit_code if isinstance(failure, GuestFailedError) else 0
            if not exit_code or exit_code not in self._call.ok_codes:
                memory = MemoryUse(self.guest_store.memory_at_start, self._memory_bytes())
                error = judge(failure, self._call, memory)
        except Exception as failure:  # noqa: BLE001  # a bug of the host is the end of this guest, not of its process
            counted = False
            error = blame_host(failure)
        return CallResult(
            error,
            Usage(
                wall_s=time.perf_counter() - wall_started,
                cpu_s=time.thread_time() - self._call.cpu_started_s,
                fuel=self._read_fuel() if counted else None,
                memory_bytes=self._memory_bytes(),
                digests=None
                if self._call.seed is None
                else Digests(module="", input="", memory=self._sum_memory()),
            ),
            exit_code,
        )

    def _read_fuel(self) -> int | None:
        """Return how much fuel the guest used; None when it is not counted."""
        return None if self._fuel is None else self._fuel - self.guest_store.read_fuel()

    def _sum_memory(self) -> str | None:
        """Return the SHA-256 of the guest's memory; None when it cannot be seen, or there is none.

        Of a call of a function nobody asks it, and its caller waits.
        """
        if self._call.http_port is not None:
            return None
        base, size = self.guest_store.locate_memory()
        return hashlib.sha256((c_ubyte * size).from_address(base)).hexdigest() if size else None

    def _memory_bytes(self) -> int:
        return self.guest_store.locate_memory()[1]
