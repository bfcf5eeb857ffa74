"""Runs one task after the other inside a guest process."""

import hashlib
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from msgspec.structs import replace

from piecework.http.exchange import Response
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Grants, JobError, Usage
from piecework.receipts.journals import READ_BYTES, JournalError
from piecework.worker_agent.errors import BrokenBlobError
from piecework.worker_agent.guests.frames import Assign, Attached, Done, Frame, Loaded, Loading
from piecework.worker_agent.guests.work.desk import Turn
from piecework.worker_agent.guests.work.pulse import Pulse
from piecework.worker_agent.runtimes import Engine
from piecework.worker_agent.runtimes.answering import HTTP, ask, run_request, settle
from piecework.worker_agent.runtimes.base import (
    OURS,
    PARTIAL_BYTES,
    Build,
    Call,
    CallResult,
    CodeFile,
    InputStream,
    LoadError,
    Program,
)
from piecework.worker_agent.runtimes.compiling.library import Library
from piecework.worker_agent.runtimes.journal.player import Player
from piecework.worker_agent.runtimes.journal.recorder import Recorder
from piecework.worker_agent.runtimes.live import LiveInput, LiveLog, LiveOutput, LiveWriter
from piecework.worker_agent.runtimes.services.access import NodeRules, Permissions
from piecework.worker_agent.runtimes.services.entries import AskEntries, has_no_server
from piecework.worker_agent.runtimes.services.errors import ServiceError
from piecework.worker_agent.runtimes.services.journaled import ask_through, pass_grants
from piecework.worker_agent.runtimes.services.store import MemoryStore, Store
from piecework.worker_agent.runtimes.stopping import StoppedError, StopReason
from piecework.worker_agent.runtimes.streams import LogTail, OutputSpool, ScratchError
from piecework.worker_agent.runtimes.verdict import GuestFailedError
from piecework.worker_agent.tasks import File, Result, Task

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
        ask_entries: AskEntries = has_no_server,
        make_folder: Callable[[], Path] | None = None,
        *,
        engine: Engine = "cranelift",
    ) -> None:
        self._library = library
        self._pulse = pulse
        self._send = send
        self._rules = rules
        self._store = store
        """What guests that are served share."""
        self._ask_entries = ask_entries
        self._make_folder = make_folder
        self._engine = engine

    def perform(self, turn: Turn) -> Done:
        """Run one task to its end. Whatever the guest does is in the report."""
        assign, task = turn.assign, turn.assign.task
        output, log = _open_ends(turn)
        journal: Recorder | Player | None = None
        try:
            journal = _open_journal(turn)
            outcome, response = self._run(turn, output, log, journal)
        except (JournalError, OSError) as error:
            outcome, response = _fail(ErrorKind.INPUT, f"the journal cannot be used: {error}"), None
        except (GuestFailedError, ServiceError, StoppedError) as error:
            # A replay whose journal has something else than what its node gave is over before its guest runs.
            outcome, response = _fail(ErrorKind.GUEST, str(error)), None
        if assign.serving is not None and assign.serving.request is not None and response is None:
            outcome, response = settle(outcome)
        outcome, result = _take_output(outcome, output)
        offset, tail = (0, b"") if assign.attached else log.read()
        # A guest that ended well before it heard of the stop is done, not cancelled.
        cancelled = outcome.error is not None and turn.stop.reason is StopReason.CANCELLED
        recorded = journal.finish() if isinstance(journal, Recorder) else None
        ended = Result(
            output=result if isinstance(result, bytes) else File(str(result)),
            error=outcome.error and outcome.error.clean(),
            usage=_sign(
                outcome.usage,
                task,
                result if outcome.error is None or outcome.exit_code else None,
                recorded,
                journal,
            ),
            log=tail,
            log_offset=offset,
            exit_code=outcome.exit_code,
            cancelled=cancelled,
            unfit=not cancelled and outcome.error is not None and outcome.error.kind is ErrorKind.WORKER,
            journal=File(str(recorded)) if isinstance(recorded, Path) else recorded,
            difference=journal.find_difference() if isinstance(journal, Player) else None,
        )
        return Done(assign.key, ended, response)

    def _run(
        self, turn: Turn, output: OutputSpool, log: LogTail, journal: Recorder | Player | None
    ) -> tuple[CallResult, Response | None]:
        task = turn.assign.task
        try:
            program = self._get_program(turn.assign.key, task)
        except LoadError as error:
            return _fail(ErrorKind.LOAD, str(error)), None
        except (BrokenBlobError, OSError) as error:
            return _fail(ErrorKind.WORKER, f"the code could not be loaded: {error}"), None
        try:
            stream = _open_input(turn)
        except OSError as error:
            return _fail(ErrorKind.WORKER, f"the input could not be opened: {error.strerror}"), None
        call = Call(stream, output, log, turn.stop, task.bounds, task.args, task.env, task.seed, task.mode)
        call.ok_codes, call.journal = task.ok_codes, journal
        call.make_folder, call.program = self._make_folder, task.program
        if turn.assign.attached is not None:
            _attach(call, turn.assign.attached)
        if task.folder is not None and not program.has_files:
            return _fail(ErrorKind.LOAD, "code of this kind has no files: the job's cannot be given to it"), None
        if task.grants is not None or task.inputs is not None or task.folder is not None or task.record:
            self._give_access(call, task, task.grants or Grants())
        elif self._rules.grants_all:
            call.access = Permissions(
                node=self._rules
            )  # nothing is granted; it is for what a denied guest is told
        with stream, self._pulse.watching(turn, log):
            return self._use(program, call, turn.assign)

    def _use(self, program: Program, call: Call, assign: Assign) -> tuple[CallResult, Response | None]:
        serving = assign.serving
        if serving is None:
            if assign.task.served:  # its journal has what came of asking for these
                call.store, call.http_port = MemoryStore(), 0
            return (run_request(program, call) if call.mode == HTTP else program.run(call)), None
        call.store, call.http_port = self._store, serving.http_port
        if serving.request is None:
            call.rehearsal = True
            return program.run(call), None
        return ask(program, call, serving.request)

    def _give_access(self, call: Call, task: Task, grants: Grants) -> None:
        """Let a call reach what its lambda may, where this node's operator allows it."""
        own = None if task.folder is None else task.folder.path
        access = call.access = Permissions.of(
            grants, self._rules, task.checksum, task.inputs, own, sealed=task.sealed, recorded=task.record
        )
        call.ask_entries = self._ask_entries
        picked, missing = access.pick_env(), access.find_missing()
        if call.journal is not None:
            call.ask_entries = ask_through(call.journal, call.ask_entries)
            picked, missing = pass_grants(call.journal, picked, missing)
        call.env = picked | (call.env or {})
        for line in missing:
            call.log.write(f"{line}\n".encode())

    def _get_program(self, key: int, task: Task) -> Program:
        build = Build.fitting(task.bounds, deterministic=task.seed is not None, engine=task.engine or self._engine)
        found = self._library.find(task.runtime, task.checksum, build)
        if found is not None:
            return found
        # Compiling may take long, and the agent allows other times for it.
        self._send(Loading(key))
        program = self._library.load(task.runtime, CodeFile(Path(task.codex), task.checksum), build)
        self._send(Loaded(key))
        return program


def _take_output(outcome: CallResult, output: OutputSpool) -> tuple[CallResult, bytes | Path]:
    """Return what a guest wrote: all of it if it ended itself, however, else its beginning."""
    error = outcome.error
    if error is not None and error.kind in OURS:
        output.discard()
        return outcome, b""
    try:
        return outcome, output.finish(None if error is None or outcome.exit_code else PARTIAL_BYTES)
    except ScratchError as failure:
        output.discard()
        return (outcome if error else _fail(ErrorKind.WORKER, str(failure))), b""


def _open_ends(turn: Turn) -> tuple[OutputSpool, LogTail]:
    """Return where output and log of a task go."""
    bounds, attached = turn.assign.task.bounds, turn.assign.attached
    if attached is None:
        return OutputSpool(bounds.output_bytes, turn.assign.spool), LogTail(bounds.log_bytes)
    writer = LiveWriter(attached.stdout, turn.stop)
    log = writer if attached.stderr == attached.stdout else LiveWriter(attached.stderr, turn.stop)
    return LiveOutput(writer, ends_line=attached.ends_line), LiveLog(log, bounds.log_bytes)


def _attach(call: Call, attached: Attached) -> None:
    """Give a call what it has beside its task."""
    call.args += tuple(map(os.fsdecode, attached.args))
    call.env = (call.env or {}) | {os.fsdecode(name): os.fsdecode(value) for name, value in attached.env.items()}
    streams = (attached.stdin, attached.stdout, attached.stderr)
    call.terminals = tuple(n for n, stream in enumerate(streams) if stream is not None and os.isatty(stream))


def _open_input(turn: Turn) -> InputStream:
    task, attached = turn.assign.task, turn.assign.attached
    if attached is not None and attached.stdin is not None:
        return LiveInput(attached.stdin, turn.stop)
    if isinstance(task.input, bytes):
        return BytesIO(task.input)
    # Unbuffered: the guest chooses how much it reads at a time.
    return Path(task.input.path).open("rb", buffering=0)


def _sign(
    usage: Usage,
    task: Task,
    output: bytes | Path | None,
    recorded: bytes | Path | None,
    journal: Recorder | Player | None,
) -> Usage:
    """Add to a deterministic run's usage what went in and what came out."""
    if usage.digests is None:
        return usage
    digests = replace(
        usage.digests,
        module=task.checksum,
        input=_sum(_read(task.input)),
        files=None if task.folder is None else task.folder.checksum,
        output=None if output is None else _sum(output),
        journal=None if recorded is None else _sum(recorded),
        journal_cut=isinstance(journal, Recorder) and (journal.cut or recorded is None),
    )
    if isinstance(journal, Player):
        digests = replace(digests, journal=journal.checksum)
    return replace(usage, digests=digests)


def _open_journal(turn: Turn) -> Recorder | Player | None:
    """Return what stands between a guest and the world. Raises JournalError, OSError."""
    task = turn.assign.task
    if not task.record:
        return None
    if task.journal is None:
        return Recorder(turn.assign.journal_spool, turn.stop)
    if isinstance(task.journal, bytes):
        return Player(task.journal, turn.stop)
    with Path(task.journal.path).open("rb") as file:
        return Player(file.read(READ_BYTES + 1), turn.stop)


def _read(given: bytes | File) -> bytes | Path:
    return given if isinstance(given, bytes) else Path(given.path)


def _sum(data: bytes | Path) -> str:
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fail(kind: ErrorKind, message: str) -> CallResult:
    return CallResult(JobError(kind=kind, message=message), NOTHING_USED)
