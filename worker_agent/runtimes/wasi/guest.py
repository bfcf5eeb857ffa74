"""One running guest: what its calls to the host act on."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Self

from worker_agent.runtimes.base import Call
from worker_agent.runtimes.stopping import StopSignal
from worker_agent.runtimes.wasi.clocks import (
    Clock,
    RandomSource,
    SeededClock,
    SystemClock,
    seeded_random,
    system_random,
)
from worker_agent.runtimes.wasi.directories import open_granted
from worker_agent.runtimes.wasi.errno import Errno, WasiError
from worker_agent.runtimes.wasi.files import GuestFile, InputFile, OutputFile
from worker_agent.runtimes.wasi.memory import GuestMemory

PROGRAM_NAME = b"lambda"
"""``argv[0]``."""


FILES_MAX = 128
"""So many files a guest may have open."""


class GuestExitError(Exception):
    """The guest ended itself, well or not."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


@dataclass(slots=True)
class Guest:
    """The state that a guest's process would have, were it one."""

    memory: GuestMemory
    files: dict[int, GuestFile]
    args: tuple[bytes, ...]
    env: tuple[bytes, ...]
    clock: Clock
    random: RandomSource
    stop: StopSignal

    @classmethod
    def start(cls, call: Call, memory: GuestMemory) -> Self:
        """Set up a guest for one call. Its time begins now."""
        return cls(
            memory=memory,
            files={0: InputFile(call.input), 1: OutputFile(call.output.write), 2: OutputFile(call.log.write)},
            args=(PROGRAM_NAME, *[arg.encode() for arg in call.args]),
            env=tuple([f"{name}={value}".encode() for name, value in call.env.items()]) if call.env else (),
            clock=SystemClock(call.stop) if call.seed is None else SeededClock(call.seed, call.stop),
            random=system_random if call.seed is None else seeded_random(call.seed),
            stop=call.stop,
        )

    @classmethod
    def start_beneath(cls, call: Call, memory: GuestMemory) -> Self:
        """Set up a guest whose input and output pass over another interface: what it prints is logged."""
        guest = cls.start(call, memory)
        guest.files = {0: InputFile(BytesIO()), 1: OutputFile(call.log.write), 2: OutputFile(call.log.write)}
        guest.args = (PROGRAM_NAME,)
        return guest

    def open_granted(self, call: Call) -> None:
        """Open the directories that a call may use; a libc looks for them from 3 on."""
        for directory in open_granted(call.access, call.log.write):
            self.files[self.free_number()] = directory

    def free_number(self) -> int:
        """Return the lowest number for a file. Raises WasiError (MFILE) when too many are open."""
        if len(self.files) >= FILES_MAX:
            raise WasiError(Errno.MFILE)
        return next(number for number in range(3, FILES_MAX + 4) if number not in self.files)

    def close(self) -> None:
        """Close what is open. Safe to repeat."""
        for file in self.files.values():
            file.close()

    def file(self, fd: int) -> GuestFile:
        """Return an open file. Raises WasiError (BADF)."""
        found = self.files.get(fd)
        if found is None:
            raise WasiError(Errno.BADF)
        return found


HostCall = Callable[..., Errno | None]
"""A call of the guest: takes the guest and the integers that it passed, returns the answer.

Raises WasiError to answer that, and anything else to end the guest.
"""

Calls = dict[str, tuple[str, HostCall]]
"""Calls by name, each with its parameter types: ``i`` for i32, ``I`` for i64."""
