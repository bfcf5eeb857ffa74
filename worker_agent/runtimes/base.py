"""What a runtime is: it loads code into a program, and runs the program once for each call."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO, FileIO
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from piecework.http.exchange import Request, Response
from piecework.modules import ModuleFacts
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError, Limits, Usage
from piecework.worker_agent.errors import BrokenBlobError
from piecework.worker_agent.runtimes import Engine
from piecework.worker_agent.runtimes.journal import Journal
from piecework.worker_agent.runtimes.services.access import Permissions
from piecework.worker_agent.runtimes.services.entries import AskEntries, has_no_server
from piecework.worker_agent.runtimes.services.store import Store
from piecework.worker_agent.runtimes.stopping import StopSignal
from piecework.worker_agent.runtimes.streams import LogTail, OutputSpool

InputStream = BytesIO | FileIO
"""Where an input comes from. It gives less than it is asked for only at its end."""


NO_ACCESS = Permissions()


STACK_BYTES = 1024 * 1024
STACK_MAX_BYTES = 32 * 1024 * 1024
"""The stack of a guest's calls, when nobody says otherwise, and the largest."""


COMPILE_BYTES = 2 * 1024**3
"""Memory for compiling one module, unless somebody says otherwise: CPython, with 26 MB, takes 0.4 GB."""
PARTIAL_BYTES = 1024 * 1024
"""So much is kept of the output of a guest that was stopped, or trapped, and of the files that it gives back: all
when it ended itself."""
OURS = (ErrorKind.WORKER, ErrorKind.LOAD, ErrorKind.INPUT)
"""Kinds of failures of which no guest has an output."""


class LoadError(Exception):
    """The code cannot run under its runtime; the message, for the lambda's author, says why."""


class Bounds(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one call may use."""

    timeout_s: float = 60.0
    """Wall time, seconds."""
    memory_bytes: int = 256 * 1024 * 1024
    """Linear memory, bytes."""
    output_bytes: int = 1024 * 1024 * 1024
    """Size of the output, bytes."""
    log_bytes: int = 64 * 1024
    """Size of the kept end of the log, bytes."""
    fuel: int | None = None
    """Fuel, about one unit per instruction; None: not limited."""
    files_bytes: int = 64 * 1024 * 1024
    """Size of the files that it makes in one directory, or of all in its private folder, bytes."""
    files_count: int = 1000
    """How many these are, with directories and links."""
    open_files: int = 1024
    """Descriptors that are open at once."""
    stack_bytes: int = STACK_BYTES
    """Stack of its calls, bytes; its own stack in the linear memory is another."""

    @classmethod
    def of(cls, limits: Limits) -> "Bounds":
        """Return a task's limits. Where one is not set, the default of this class holds."""
        usual = USUAL
        return cls(
            usual.timeout_s if limits.timeout_s is None else limits.timeout_s,
            usual.memory_bytes if limits.memory_bytes is None else limits.memory_bytes,
            usual.output_bytes if limits.output_bytes is None else limits.output_bytes,
            usual.log_bytes if limits.log_bytes is None else limits.log_bytes,
            limits.fuel,
            usual.files_bytes if limits.files_bytes is None else limits.files_bytes,
            usual.files_count if limits.files_count is None else limits.files_count,
            usual.open_files if limits.open_files is None else limits.open_files,
            usual.stack_bytes if limits.stack_bytes is None else limits.stack_bytes,
        )


USUAL = Bounds()


class Build(NamedTuple):
    """How code is compiled. Calls with different builds need different machine code."""

    metered: bool = False
    """Fuel is counted."""
    deterministic: bool = False
    """Every NaN has the same bits, relaxed SIMD always rounds the same way."""
    stack_bytes: int = STACK_BYTES
    """Stack of the guest's calls. The machine code is the same for all."""
    engine: Engine = "cranelift"
    """What makes code of it that runs: an optimising compiler, the same one without optimising, or ``pulley``, an
    interpreter of its own bytecode. A guest does the same under each; only the first is quick."""

    @classmethod
    def fitting(cls, bounds: Bounds, *, deterministic: bool, engine: Engine = "cranelift") -> "Build":
        """Return the cheapest build that can do what a call asks for. Raises LoadError when none can."""
        metered = deterministic or bounds.fuel is not None
        return cls(metered, deterministic, _choose_stack(bounds.stack_bytes), engine)


def _choose_stack(wanted: int) -> int:
    """Return the size of a stack: each takes an engine of its own, so there are few."""
    size = STACK_BYTES
    while size < wanted:
        size *= 2
    if size > STACK_MAX_BYTES:
        raise LoadError(f"its stack would be {wanted} bytes; the largest that a worker gives is {STACK_MAX_BYTES}")
    return size


@dataclass(frozen=True, slots=True)
class CodeFile:
    """The code of a lambda: a file and the SHA-256 (hex) of its bytes."""

    path: Path
    checksum: str

    def read(self) -> bytes:
        """Return the bytes. Raises BrokenBlobError when they do not fit the checksum, OSError without a file."""
        data = self.path.read_bytes()
        if hashlib.sha256(data).hexdigest() != self.checksum:
            raise BrokenBlobError(f"the cached code {self.checksum[:12]} is damaged")
        return data

    def read_start(self, size: int) -> bytes:
        """Return the first ``size`` bytes, fewer when there are no more; unchecked. Raises OSError."""
        with self.path.open("rb") as file:
            return file.read(size)


@dataclass(slots=True)
class Call:
    """One run of a program: what goes in, where things come out, what holds it back."""

    input: InputStream
    output: OutputSpool
    log: LogTail
    stop: StopSignal
    bounds: Bounds
    args: tuple[str, ...] = ()
    """Command line, without the program's name."""
    env: dict[str, str] | None = None
    seed: bytes | None = None
    """Not None: random numbers derive from it, and the clock without a journal; the build is deterministic."""
    mode: str = "text"
    """Which handler of a Capsule module is called: ``text``, ``json``, or with ``http`` the best for a request."""
    http_port: int | None = None
    """Where requests come in that it answers; None: it is a job."""
    access: Permissions = NO_ACCESS
    """What it may reach outside of its sandbox."""
    store: Store | None = None
    """Keys and values that it shares with other calls; None: its own."""
    ok_codes: tuple[int, ...] = ()
    """Exit codes of a guest that did well, beside 0."""
    terminals: tuple[int, ...] = ()
    """Which of its standard streams, 0 to 2, are terminals."""
    ask_entries: AskEntries = has_no_server
    """How to get at keys and values of the server."""
    journal: Journal | None = None
    """What it asks the world passes through here; None: nothing is written down."""
    make_folder: Callable[[], Path] | None = None
    """Makes a new folder for files that nobody needs after the call; None: there is no place for such."""
    program: str = "lambda"
    """The program's name, ``argv[0]``."""
    rehearsal: bool = False
    """Only begin, as each call does, and do nothing: it shows whether the guest can be started."""
    cpu_started_s: float = 0.0
    """What the CPU clock of the guest's thread showed at the guest's start, which notes it."""


class CallResult(NamedTuple):
    """How a call ended. ``error`` None: well."""

    error: JobError | None
    usage: Usage
    exit_code: int = 0
    """With which the guest ended itself, if that is not 0: not by a trap, nor at a limit."""


class Program(Protocol):
    """Loaded code, ready to run any number of times, one call after the other."""

    has_files: bool
    """Its guests can have a directory of their own."""

    def run(self, call: Call) -> CallResult:
        """Run once, in a sandbox of its own. Whatever the guest does is in the outcome; nothing is raised."""

    def answer(self, call: Call, request: Request) -> tuple[CallResult, Response]:
        """Answer an HTTP request, in a sandbox of its own, as the guest's kind does that best.

        The call's input and output are left alone. There is a response in any case: for a call that failed, one
        that says why. That the guest itself says that it failed is no failure of the call.
        """

    def close(self) -> None:
        """Free the compiled code. Safe to repeat."""


class Runtime(Protocol):
    """A named way to execute code."""

    def recognises(self, facts: ModuleFacts) -> bool:
        """Tell whether a module like this is meant for this runtime: how ``default`` chooses."""

    def load(self, code: CodeFile, build: Build) -> Program:
        """Prepare code for running.

        Raises LoadError when it cannot run, BrokenBlobError or OSError when it cannot be read.
        """
