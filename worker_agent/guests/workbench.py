"""Runs one task after the other inside a guest process."""

import hashlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from msgspec.structs import replace

from piecework.http.exchange import Response
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Grants, JobError, Usage
from worker_agent.errors import BrokenBlobError
from worker_agent.guests.desk import Turn
from worker_agent.guests.frames import Done, Frame, Loaded, Loading, Serving
from worker_agent.guests.pulse import Pulse
from worker_agent.runtimes.answering import HTTP, ask, run_request, settle
from worker_agent.runtimes.base import Build, Call, CallResult, CodeFile, InputStream, LoadError, Program
from worker_agent.runtimes.compiling.library import Library
from worker_agent.runtimes.services.access import NodeRules, Permissions
from worker_agent.runtimes.services.store import Store
from worker_agent.runtimes.stopping import StopReason
from worker_agent.runtimes.streams import LogTail, OutputSpool, ScratchError
from worker_agent.tasks import File, Result, Task

NOTHING_USED = Usage()
NO_RULES = NodeRules()


class Workbench:
    """Loads the code of tasks, runs it, and tells what came out."""

    def __init__(
        self,
        library: Library,
        pulse: Pulse,
        send: Callable[[Frame], None],
        rules: NodeRules = NO_RULES,
        store: Store | None = None,
    ) -> None:
        self._library = library
        self._pulse = pulse
        self._send = send
        self._rules = rules
        self._store = store
        """What guests that are served share."""

    def perform(self, turn: Turn) -> Done:
        """Run one task to its end. Whatever the guest does is in the report."""
        assign, task = turn.assign, turn.assign.task
        log = LogTail(task.bounds.log_bytes)
        output = OutputSpool(task.bounds.output_bytes, assign.spool)
        outcome, response = self._run(turn, output, log)
        if assign.serving is not None and assign.serving.request is not None and response is None:
            outcome, response = settle(outcome)
        result: bytes | Path = b""
        if outcome.error is None:
            try:
                result = output.finish()
            except ScratchError as error:
                outcome = _fail(ErrorKind.WORKER, str(error))
        if outcome.error is not None:
            output.discard()
        offset, tail = log.read()
        # A guest that ended well before it heard of the stop is done, not cancelled.
        cancelled = outcome.error is not None and turn.stop.reason is StopReason.CANCELLED
        ended = Result(
            output=result if isinstance(result, bytes) else File(str(result)),
            error=outcome.error and outcome.error.clean(),
            usage=_sign(outcome.usage, task, result if outcome.error is None else None),
            log=tail,
            log_offset=offset,
            cancelled=cancelled,
            unfit=not cancelled and outcome.error is not None and outcome.error.kind is ErrorKind.WORKER,
        )
        return Done(assign.key, ended, response)

    def _run(self, turn: Turn, output: OutputSpool, log: LogTail) -> tuple[CallResult, Response | None]:
        task = turn.assign.task
        try:
            program = self._get_program(turn.assign.key, task)
        except LoadError as error:
            return _fail(ErrorKind.LOAD, str(error)), None
        except (BrokenBlobError, OSError) as error:
            return _fail(ErrorKind.WORKER, f"the code could not be loaded: {error}"), None
        try:
            stream = _open_input(task)
        except OSError as error:
            return _fail(ErrorKind.WORKER, f"the input could not be opened: {error.strerror}"), None
        call = Call(stream, output, log, turn.stop, task.bounds, task.args, task.env, task.seed, task.mode)
        if task.grants is not None:
            self._give_access(call, task, task.grants)
        elif self._rules.grants_all:
            call.access = Permissions(
                node=self._rules
            )  # nothing is granted; it is for what a denied guest is told
        with stream, self._pulse.watching(turn, log):
            return self._use(program, call, turn.assign.serving)

    def _use(self, program: Program, call: Call, serving: Serving | None) -> tuple[CallResult, Response | None]:
        if serving is None:
            return (run_request(program, call) if call.mode == HTTP else program.run(call)), None
        call.store, call.http_port = self._store, serving.http_port
        if serving.request is None:
            call.rehearsal = True
            return program.run(call), None
        return ask(program, call, serving.request)

    def _give_access(self, call: Call, task: Task, grants: Grants) -> None:
        """Let a call reach what its lambda may, where this node's operator allows it."""
        call.access = Permissions.of(grants, self._rules, task.checksum, sealed=task.seed is not None)
        call.env = call.access.pick_env() | (call.env or {})
        for line in call.access.find_missing():
            call.log.write(f"{line}\n".encode())

    def _get_program(self, key: int, task: Task) -> Program:
        build = Build.fitting(task.bounds, deterministic=task.seed is not None)
        found = self._library.find(task.runtime, task.checksum, build)
        if found is not None:
            return found
        # Compiling may take long, and the agent allows other times for it.
        self._send(Loading(key))
        program = self._library.load(task.runtime, CodeFile(Path(task.codex), task.checksum), build)
        self._send(Loaded(key))
        return program


def _open_input(task: Task) -> InputStream:
    if isinstance(task.input, bytes):
        return BytesIO(task.input)
    # Unbuffered: the guest chooses how much it reads at a time.
    return Path(task.input.path).open("rb", buffering=0)


def _sign(usage: Usage, task: Task, output: bytes | Path | None) -> Usage:
    """Add to a deterministic run's usage what went in and what came out."""
    if usage.digests is None:
        return usage
    digests = replace(
        usage.digests,
        module=task.checksum,
        input=_sum(task.input if isinstance(task.input, bytes) else Path(task.input.path)),
        output=None if output is None else _sum(output),
    )
    return replace(usage, digests=digests)


def _sum(data: bytes | Path) -> str:
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fail(kind: ErrorKind, message: str) -> CallResult:
    return CallResult(JobError(kind=kind, message=message), NOTHING_USED)
