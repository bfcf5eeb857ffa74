"""The runtime ``component``: a WASI 0.2 command. Standard input to standard output; standard error is the log.

WASI is wasmtime's own here, and some things are its ways: a guest that sleeps does not hear of a stop (the agent
ends its process), and how much memory a guest has cannot be seen, only limited.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from tempfile import TemporaryFile
from typing import Self

from msgspec.structs import replace
from wasmtime import Engine, ExitTrap, Store, WasiConfig, WasmtimeError
from wasmtime.component import Component, ExportIndex, Linker, ResultType

from piecework.http.exchange import Request
from piecework.modules import COMPONENT, ModuleFacts
from piecework.modules.component import find_entry, list_unsteady
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError, Usage
from worker_agent.runtimes.answering import Answer, answer_command
from worker_agent.runtimes.base import Build, Call, CallResult, CodeFile, InputStream, LoadError
from worker_agent.runtimes.compiling.toolchain import Toolchain, check_facts, read_component_facts
from worker_agent.runtimes.linkage import Allowance
from worker_agent.runtimes.sandbox import Sandbox
from worker_agent.runtimes.streams import OutputFullError, ScratchError
from worker_agent.runtimes.verdict import GuestFailedError
from worker_agent.runtimes.wasi.directories import open_folders

ENTRY = "run"
PROGRAM_NAME = "lambda"
"""``argv[0]``."""
_DESCRIPTOR = "/dev/fd/{}"
"""wasmtime takes the input as a file that has a name, and directories, too."""
INSTANCES = 1000
"""Core modules and components that one guest may consist of."""


class ComponentRuntime:
    """Loads commands for WASI 0.2. Directories can be read, no address is granted, ``wasi:http`` is not there."""

    def __init__(self, toolchain: Toolchain) -> None:
        self._toolchain = toolchain

    def recognises(self, facts: ModuleFacts) -> bool:
        return find_entry(facts) is not None

    def load(self, code: CodeFile, build: Build) -> "ComponentProgram":
        component, engine = self._toolchain.load_component(code, build), self._toolchain.component_engine(build)
        try:
            facts = check_facts(COMPONENT, read_component_facts(component, engine))
            if build.deterministic and (unsteady := list_unsteady(facts)):
                raise LoadError(
                    f"a deterministic lambda cannot be this component: it imports {', '.join(unsteady)}, "
                    "which give other answers in every run"
                )
            return ComponentProgram(component, _find_entry(component, facts), engine, build)
        except LoadError:
            component.close()
            raise


class ComponentProgram:
    """One component, and the host's functions for it."""

    def __init__(self, component: Component, entry: ExportIndex, engine: Engine, build: Build) -> None:
        self.component = component
        self.engine = engine
        self.entry = entry
        self.linker = Linker(engine)
        self.linker.add_wasip2()
        self._build = build

    def run(self, call: Call) -> CallResult:
        try:
            with _share_input(call.input) as path:
                component_run = _ComponentRun(self, call, path)
                with Sandbox(self.engine, component_run, self._build, call) as sandbox:
                    outcome = sandbox.run(component_run.enter)
                    return outcome._replace(usage=replace(outcome.usage, memory_bytes=None))
        except OSError as error:
            return CallResult(
                JobError(kind=ErrorKind.WORKER, message=f"the input could not be kept: {error}"), Usage()
            )

    def answer(self, call: Call, request: Request) -> Answer:
        return answer_command(self.run, call, request)

    def close(self) -> None:
        """Free the compiled code. Safe to repeat."""
        self.linker.close()
        self.component.close()


class _ComponentRun:
    """One run of a component, both as ``Prepared`` and as ``GuestStore``."""

    memory_at_start = 0

    def __init__(self, program: ComponentProgram, call: Call, input_path: str | None) -> None:
        self._program = program
        self._call = call
        self._input_path = input_path
        self._failure: Exception | None = None
        """Why the guest's output was not taken."""

    def open(self, allowance: Allowance) -> Self:
        self._store = Store(self._program.engine)
        # The limit holds for each memory: one memory, one limit.
        self._store.set_limits(
            memory_size=allowance.memory_bytes,
            table_elements=allowance.table_elements,
            instances=INSTANCES,
            tables=allowance.tables,
            memories=1,
        )
        self._store.set_epoch_deadline(1)
        if allowance.fuel is not None:
            self._store.set_fuel(allowance.fuel)
        return self

    def enter(self) -> None:
        """Run the guest. Raises what ended it, unless it ended well."""
        code = 0
        try:
            self.instantiate()
            if not self._call.rehearsal:
                code = self.call(ENTRY)
        except ExitTrap as end:
            code = end.code
        except WasmtimeError as end:
            if self._failure is None:
                raise
            raise self._failure from end
        if self._failure is not None:
            raise self._failure
        if code:
            raise GuestFailedError(f"exit code {code}")

    def instantiate(self) -> None:
        self._store.set_wasi(self._configure())
        self._instance = self._program.linker.instantiate(self._store, self._program.component)

    def call(self, name: str, *arguments: int) -> int:
        """Call a command's function and return its exit code."""
        function = self._instance.get_func(self._store, self._program.entry)
        kind = function.type(self._store) if function else None
        if function is None or kind is None or kind.params or not isinstance(kind.result, ResultType):
            raise WasmtimeError(f"the export {name!r} is not a function without parameters that returns a result")
        result = function(self._store, *arguments)
        return 0 if result.tag == "ok" else 1

    def locate_memory(self) -> tuple[int, int]:
        return 0, 0

    def read_fuel(self) -> int:
        return self._store.get_fuel()

    def close(self) -> None:
        self._store.close()

    def _configure(self) -> WasiConfig:
        call, config = self._call, WasiConfig()
        config.argv = [PROGRAM_NAME, *call.args]
        config.env = (call.env or {}).items()
        if self._input_path is not None:
            config.stdin_file = self._input_path
        config.stdout_custom = self._take_output
        config.stderr_custom = self._take_log
        self._share_folders(config)
        return config

    def _share_folders(self, config: WasiConfig) -> None:
        """Let the guest read the directories that are granted. What it writes there nobody would count."""
        for folder, descriptor in open_folders(self._call.access, self._call.log.write):
            try:
                config.preopen_dir(_DESCRIPTOR.format(descriptor), folder.guest_path, fs_mutable=False)
            finally:
                os.close(descriptor)
            if folder.write:
                line = f"writing to {folder.guest_path} denied: a component can only read directories\n"
                self._call.log.write(line.encode())

    def _take_output(self, data: bytes) -> int:
        """Take what the guest writes. What is raised here would be lost: it is noted, and the guest is ended."""
        try:
            self._call.output.write(data)
        except (OutputFullError, ScratchError) as failure:
            self._failure = failure
            # Not every guest heeds that a write failed.
            self._program.engine.increment_epoch()
            return -errno.EIO
        return len(data)

    def _take_log(self, data: bytes) -> int:
        self._call.log.write(data)
        return len(data)


def _find_entry(component: Component, facts: ModuleFacts) -> ExportIndex:
    """Return where a command's function is. Raises LoadError when there is none."""
    interface = find_entry(facts) or ""
    found = component.get_export_index(ENTRY, component.get_export_index(interface))
    if found is None:
        raise LoadError(f"the component exports {interface!r} without the function {ENTRY!r}")
    return found


@contextmanager
def _share_input(source: InputStream) -> Iterator[str | None]:
    """Yield a path where the input can be read, once; None when it is empty. Raises OSError."""
    if isinstance(source, FileIO):
        yield _DESCRIPTOR.format(source.fileno())
    elif data := source.read():
        with TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            yield _DESCRIPTOR.format(file.fileno())
    else:
        yield None
