"""A function as the launcher runs it: its code, and what each call of it gets and may."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from msgspec.structs import replace

from piecework.modules import DEFAULT, ModuleError, check_code, choose_runtime, inspect_code
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Grants, JobError
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.guests.frames import Assign, Serving
from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.runtimes.services.access import NodeRules
from piecework.worker_agent.serving.entries import KvServer
from piecework.worker_agent.tasks import Task

CODE_BYTES = 256 * 1024 * 1024
"""Size of the largest code."""
START_S = 20.0
"""A guest that has not started by then is of no use to who calls it."""
NO_GRANTS = Grants()
HTTP = "http"
"""The mode in which functions answer requests."""


class FunctionError(AgentError):
    """The function cannot run; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Function:
    """What to run, and how."""

    file: Path
    runtime: str = DEFAULT
    mode: str = "text"
    """The handler of a Capsule module: ``text``, ``json``, or with ``http`` the best for a request."""
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict, repr=False)
    bounds: Bounds = Bounds()  # noqa: RUF009  # a tuple
    grants: Grants = NO_GRANTS
    rules: NodeRules = field(default_factory=NodeRules, repr=False)
    seed: bytes | None = None
    kv_server: KvServer | None = None
    """Whose namespaces it uses; None: those that it uses are kept here."""

    def read(self, folder: Path) -> "Version":
        """Return the function with the code that its file has now; a copy of it is put into a folder.

        Raises FunctionError when there is no such file, or its runtime cannot run it.
        """
        code = _read_code(self.file)
        try:
            runtime = choose_runtime(self.runtime, code, self.file.name)
            check_code(runtime, code)
            facts = inspect_code(code)
        except ModuleError as error:
            raise FunctionError(f"{self.file} cannot run: {error}") from error
        checksum = facts.sha256
        copy = folder / checksum
        copy.write_bytes(code)
        task = Task(
            runtime=runtime,
            codex=str(copy),
            checksum=checksum,
            bounds=self.bounds,
            args=self.args,
            env=self.env,
            seed=self.seed,
            mode=self.mode,
            program=self.file.name.encode(errors="replace").decode(),
            grants=None if self.grants == NO_GRANTS else self.grants,
        )
        return Version(self.file, task, facts.exports)


@dataclass(frozen=True)
class Version:
    """A function with the code that its file had at one time."""

    file: Path
    task: Task
    """What each call of it is, with no input. Its runtime is never ``default``."""
    exports: list[str]
    _keys: Iterator[int] = field(default_factory=lambda: count(1), repr=False)

    def assign(self, serving: Serving, mode: str | None = None) -> Assign:
        """Return the frame for one call of it."""
        task = self.task if mode is None else replace(self.task, mode=mode)
        return Assign(next(self._keys), task, "", serving)

    def assign_recorded(self, task: Task, serving: Serving) -> Assign:
        """Return the frame for one call of it that is recorded: ``task`` says so."""
        key = next(self._keys)
        return Assign(key, task, f"{task.codex}-{key}", serving)

    def assign_rehearsal(self, seed: bytes | None = None) -> Assign:
        """Return the frame for loading the code and starting a guest that does nothing.

        With a ``seed`` it is loaded as for calls that are recorded.
        """
        bounds = self.task.bounds
        task = replace(self.task, bounds=replace(bounds, timeout_s=min(bounds.timeout_s, START_S)))
        task = task if seed is None else replace(task, seed=seed)
        return Assign(next(self._keys), task, "", Serving())

    def explain(self, error: JobError) -> str:
        """Say why the function is of no use when its rehearsal failed so."""
        fault = "cannot run" if error.kind is ErrorKind.LOAD else "does not start"
        return f"{self.file} {fault}: {error.message}"


def _read_code(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            code = opened.read(CODE_BYTES + 1)
    except OSError as error:
        raise FunctionError(f"{file} cannot be read: {error.strerror}") from error
    if len(code) > CODE_BYTES:
        raise FunctionError(f"{file} has more than {CODE_BYTES} bytes, the most for code")
    return code
