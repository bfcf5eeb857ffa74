"""Commands under wasmtime's own WASI, which is the quickest with much input and output.

Some things are its ways: a guest that sleeps does not hear of a stop (the agent ends its process), and directories
can only be read.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from tempfile import TemporaryFile

from msgspec.structs import replace
from wasmtime import Engine, ExitTrap, WasiConfig, WasmtimeError
from wasmtime.component import Component, ExportIndex, Linker, ResultType

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError, Usage
from piecework.worker_agent.runtimes.base import Build, Call, CallResult, InputStream
from piecework.worker_agent.runtimes.component.store import ComponentStore
from piecework.worker_agent.runtimes.inputs import refuse_input
from piecework.worker_agent.runtimes.live import LiveInput
from piecework.worker_agent.runtimes.sandbox import Sandbox
from piecework.worker_agent.runtimes.streams import OutputFullError, ScratchError
from piecework.worker_agent.runtimes.verdict import GuestFailedError
from piecework.worker_agent.runtimes.wasi.fs.directories import open_folders

_DESCRIPTOR = "/dev/fd/{}"
"""wasmtime takes the input as a file that has a name, and directories, too."""
_OURS = ""
"""In the place of a file's name: our own standard input."""


class CommandRunner:
    """Runs one command. Must be closed."""

    def __init__(self, component: Component, engine: Engine, build: Build) -> None:
        self.component = component
        self.engine = engine
        self.linker = Linker(engine)
        self.linker.add_wasip2()
        self._build = build

    def run(self, entry: ExportIndex, call: Call) -> CallResult:
        """See ``Program``."""
        try:
            with _share_input(call.input) as path:
                command_run = _CommandRun(self, entry, call, path)
                with Sandbox(self.engine, command_run.open, self._build, call) as sandbox:
                    outcome = sandbox.run(command_run.enter)
                    return outcome._replace(usage=replace(outcome.usage, memory_bytes=None))
        except UnicodeEncodeError:
            return refuse_input("a component takes arguments and variables in UTF-8 only")
        except OSError as error:
            return CallResult(
                JobError(kind=ErrorKind.WORKER, message=f"the input could not be kept: {error}"), Usage()
            )

    def close(self) -> None:
        """Free it. Safe to repeat."""
        self.linker.close()


class _CommandRun(ComponentStore):
    """One run of a command."""

    def __init__(self, runner: CommandRunner, entry: ExportIndex, call: Call, input_path: str | None) -> None:
        super().__init__(runner.engine)
        self._runner = runner
        self._entry = entry
        self._call = call
        self._input_path = input_path
        self._failure: Exception | None = None
        """Why the guest's output was not taken."""

    def enter(self) -> None:
        """Run the guest. Raises what ended it, unless it ended well."""
        code = 0
        try:
            self.instantiate()
            if not self._call.rehearsal:
                code = run_command(self, self._entry)
        except ExitTrap as end:
            code = end.code
        except WasmtimeError as end:
            if self._failure is None:
                raise
            raise self._failure from end
        if self._failure is not None:
            raise self._failure
        if code:
            raise GuestFailedError(f"exit code {code}", exit_code=code)

    def instantiate(self) -> None:
        self.store.set_wasi(self._configure())
        self.instance = self._runner.linker.instantiate(self.store, self._runner.component)

    def _configure(self) -> WasiConfig:
        call, config = self._call, WasiConfig()
        config.argv = [call.program, *call.args]
        config.env = (call.env or {}).items()
        if self._input_path == _OURS:
            config.inherit_stdin()
        elif self._input_path is not None:
            config.stdin_file = self._input_path
        config.stdout_custom = self._take_output
        config.stderr_custom = self._take_log
        self._share_folders(config)
        return config

    def _share_folders(self, config: WasiConfig) -> None:
        """Let the guest read the directories that are granted."""
        for folder, descriptor in open_folders(self._call.access.find_folders(), self._call.log.write):
            try:
                config.preopen_dir(_DESCRIPTOR.format(descriptor), folder.guest_path, fs_mutable=False)
            finally:
                os.close(descriptor)

    def _take_output(self, data: bytes) -> int:
        """Take what the guest writes. What is raised here would be lost: it is noted, and the guest is ended."""
        try:
            self._call.output.write(data)
        except (OutputFullError, ScratchError) as failure:
            self._failure = failure
            # Not every guest heeds that a write failed.
            self._runner.engine.increment_epoch()
            return -errno.EIO
        return len(data)

    def _take_log(self, data: bytes) -> int:
        self._call.log.write(data)
        return len(data)


def run_command(store: ComponentStore, entry: ExportIndex) -> int:
    """Call a command's function and return its exit code."""
    function = store.find(entry)
    kind = function.type(store.store)
    if kind.params or not isinstance(kind.result, ResultType):
        raise WasmtimeError("the export 'run' is not a function without parameters that returns a result")
    return 0 if function(store.store).tag == "ok" else 1


@contextmanager
def _share_input(source: InputStream) -> Iterator[str | None]:
    """Yield a path where the input can be read, once; None when it is empty. Raises OSError."""
    if isinstance(source, LiveInput):
        os.dup2(source.fileno(), 0)  # it may be what has no name
        yield _OURS
    elif isinstance(source, FileIO):
        yield _DESCRIPTOR.format(source.fileno())
    elif data := source.read():
        with TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            yield _DESCRIPTOR.format(file.fileno())
    else:
        yield None
