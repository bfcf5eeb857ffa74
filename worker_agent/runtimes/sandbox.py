"""One fresh store for one call of a wasm guest: its limits, its end, what it used."""

import hashlib
import time
from collections.abc import Callable
from ctypes import c_ubyte
from typing import Self

from wasmtime import Engine, Trap, WasmtimeError

from piecework.protocol.messages import Digests, JobError, Usage
from worker_agent.runtimes.base import Build, Call, CallResult
from worker_agent.runtimes.linkage import TABLE_ELEMENTS, TABLES, Allowance, Prepared
from worker_agent.runtimes.stopping import StoppedError
from worker_agent.runtimes.streams import OutputFullError, ScratchError
from worker_agent.runtimes.verdict import GuestFailedError, MemoryUse, has_exact_fuel, judge

ALL_FUEL = 2**63 - 1
"""Fuel of a metered call that may use as much as it wants."""


class Sandbox:
    """A store that holds one guest to its bounds. Must be closed; use it with ``with``."""

    def __init__(self, engine: Engine, prepared: Prepared, build: Build, call: Call) -> None:
        self._engine = engine
        self._call = call
        self._fuel: int | None = None
        if build.metered:
            self._fuel = ALL_FUEL if call.bounds.fuel is None else call.bounds.fuel
        self.guest_store = prepared.open(Allowance(call.bounds.memory_bytes, TABLES, TABLE_ELEMENTS, self._fuel))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.guest_store.close()

    def run(self, guest: Callable[[], None]) -> CallResult:
        """Run guest code, whatever it does, and return how it ended."""
        wall_started, cpu_started = time.perf_counter(), time.thread_time()
        error: JobError | None = None
        counted = True
        try:
            with self._call.stop.interrupting(self._engine.increment_epoch):
                guest()
        except (Trap, WasmtimeError, GuestFailedError, StoppedError, OutputFullError, ScratchError) as failure:
            counted = has_exact_fuel(failure)
            error = judge(failure, self._call, MemoryUse(self.guest_store.memory_at_start, self._memory_bytes()))
        return CallResult(
            error,
            Usage(
                wall_s=time.perf_counter() - wall_started,
                cpu_s=time.thread_time() - cpu_started,
                fuel=self._read_fuel() if counted else None,
                memory_bytes=self._memory_bytes(),
                digests=None
                if self._call.seed is None
                else Digests(module="", input="", memory=self._sum_memory()),
            ),
        )

    def _read_fuel(self) -> int | None:
        """Return how much fuel the guest used; None when it is not counted."""
        return None if self._fuel is None else self._fuel - self.guest_store.read_fuel()

    def _sum_memory(self) -> str | None:
        """Return the SHA-256 of the guest's memory; None when it cannot be seen, or there is none."""
        base, size = self.guest_store.locate_memory()
        return hashlib.sha256((c_ubyte * size).from_address(base)).hexdigest() if size else None

    def _memory_bytes(self) -> int:
        return self.guest_store.locate_memory()[1]
