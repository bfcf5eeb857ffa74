"""Recorded calls of an old lambda, replayed against new code in one guest process."""

import itertools
import re
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple, Self

import msgspec

from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages import GateKind
from piecework.protocol.text import clean_text
from piecework.receipts.errors import ReceiptError
from piecework.receipts.gates import GateRun
from piecework.receipts.payload import RunResult
from piecework.receipts.recorded_calls import RunParts
from piecework.receipts.replays import Difference
from piecework.worker_agent.guests.assignment import Loss
from piecework.worker_agent.guests.frames import Assign
from piecework.worker_agent.guests.slot import write_loss
from piecework.worker_agent.jobs.work.comparing import FIELDS, find_difference, read_result
from piecework.worker_agent.replaying.replay import ReplayNode
from piecework.worker_agent.replaying.runs import ReplayError, unpack
from piecework.worker_agent.runtimes import Engine
from piecework.worker_agent.runtimes.base import CodeFile
from piecework.worker_agent.runtimes.journal.differences import CallDifference
from piecework.worker_agent.runtimes.linkage.installed import find_version
from piecework.worker_agent.runtimes.trees import remove_tree
from piecework.worker_agent.serving.solo import Solo
from piecework.worker_agent.tasks import Result, Task

FUEL_FACTOR, FUEL_SPARE = 100, 1_000_000_000
"""A call without a limit of fuel is given up beyond so many times what it used, and so much more: a second."""
RESULT_FIELDS = tuple(each for each in FIELDS if each[1] not in {"memory", "fuel"})
"""What the old and the new code are compared in: that new code uses its memory otherwise is no matter."""
_DENIAL = re.compile(
    rb"^.* denied: (?:a deterministic lambda|the lambda has no grant|the operator of this|nothing allows) .*$",
    re.MULTILINE,
)
"""As runtimes write it into the log."""
_KINDS: dict[str, GateKind] = {
    "error kind": "failure",
    "exit code": "exit code",
    "HTTP status": "status",
    "output": "output",
    "files that it gave back": "files",
}


class NewCode(NamedTuple):
    """The code that is to take the old one's place."""

    file: CodeFile
    runtime: str


class CodeGate:
    """Replays calls against new code, one after the other: it is loaded once. Use it with ``with``.

    Nothing is granted, and what comes from outside comes from the journals.
    """

    def __init__(
        self, code: NewCode, node: ReplayNode, *, engine: Engine = "cranelift", timeout_s: float = 60.0
    ) -> None:
        """``timeout_s``: each call may take so long."""
        node.compiled.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._code, self._node, self._engine, self._timeout_s = code, node, engine, timeout_s
        self._folder = Path(tempfile.mkdtemp(prefix="piecework-gate-"))
        self._solo: Solo | None = None
        self._keys = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._drop_process()
        remove_tree(self._folder)

    def replay(self, job: Id, parts: RunParts, memory_then: int | None = None) -> GateRun:
        """Replay what was done as a job, or as a call that has an id like one.

        ``memory_then``: bytes that it used then, which no receipt tells. Raises ReplayError when the new code
        cannot be loaded, OSError.
        """
        room = self._folder / "call"
        room.mkdir(mode=0o700)
        try:
            task = self._prepare(parts, room, self._code)
            end = self._perform(Assign(next(self._keys), task, str(room / "output")))
            if isinstance(end, Loss):
                run = GateRun(job=job, kind="failure", message=f"the guest process died: {write_loss(end)}")
            else:
                run = self._judge(job, parts, task, end, memory_then)
                if parts.claim.subject.profile == "deterministic":
                    run = self._check_denials(run, parts, end)
        except (ReplayError, ReceiptError) as error:
            if isinstance(error, NewCodeError):
                raise
            run = GateRun(job=job, kind="skipped", message=str(error))
        finally:
            remove_tree(room)
        engine = f"wasmtime {find_version()}, {self._engine}"
        return msgspec.structs.replace(run, message=clean_text(run.message), engine=engine)

    def _check_denials(self, run: GateRun, parts: RunParts, ended: Result) -> GateRun:
        """Return the finding, if there is one, that a call asks for what it is denied, and did not before.

        A deterministic call has no journal that would tell; its log does, and that of the old code, run here.
        """
        denied = find_denials(ended.log)
        if not denied:
            return run
        room = self._folder / "old"
        room.mkdir(mode=0o700)
        try:
            then = self._perform(Assign(next(self._keys), self._prepare(parts, room), str(room / "output")))
        finally:
            remove_tree(room)
        before = set() if isinstance(then, Loss) else set(find_denials(then.log))
        new = next((line for line in denied if line not in before), None)
        if new is None:
            return run
        return GateRun(job=run.job, kind="calls", message=f"it asks for what the old one did not: {new}")

    def _prepare(self, parts: RunParts, room: Path, code: NewCode | None = None) -> Task:
        """Return the task of a call, for new code or its own."""
        task = unpack(
            parts,
            room,
            engine=self._engine,
            timeout_s=self._timeout_s,
            new_code=None if code is None else code.file,
        )
        bounds = task.bounds
        if bounds.fuel is None:
            used = int(parts.claim.result.fuel or 0)
            bounds = msgspec.structs.replace(bounds, fuel=min(used * FUEL_FACTOR + FUEL_SPARE, 2**62))
        return msgspec.structs.replace(task, runtime=code.runtime if code else task.runtime, bounds=bounds)

    def _perform(self, frame: Assign) -> Result | Loss:
        if self._solo is None:
            self._solo = self._node.start(self._folder)
        end = self._solo.perform(frame)
        if isinstance(end, Loss):
            self._drop_process()
            return end
        return end.result

    def _drop_process(self) -> None:
        solo, self._solo = self._solo, None
        if solo is not None:
            with solo:
                pass

    def _judge(self, job: Id, parts: RunParts, task: Task, ended: Result, memory_then: int | None) -> GateRun:
        claim, error = parts.claim, ended.error
        if error is not None and error.kind in {ErrorKind.LOAD, ErrorKind.WORKER}:
            raise NewCodeError(f"the new code cannot be run: {error.message}")
        if error is not None and error.kind is ErrorKind.INPUT:
            return GateRun(job=job, kind="skipped", message=error.message)
        found, made = read_result(task, ended)
        difference = find_difference(parts, found, ended, made, RESULT_FIELDS)
        differs = ended.difference
        if differs is not None and claim.subject.journal_cut and differs.is_cut:
            return GateRun(job=job, kind="unclear", message=differs.message)
        # Code that fails asks for less: the failure tells more.
        failed = difference is not None and _name_kind(difference, found) == "failure"
        if differs is not None and not (failed and differs.asked is None):
            return GateRun(job=job, kind="calls", message=describe_call(differs), byte=differs.byte)
        if difference is not None and not claim.result.comparable:
            return GateRun(job=job, kind="unclear", message=difference.message)
        return GateRun(
            job=job,
            kind=_name_kind(difference, found),
            message="" if difference is None else difference.message,
            byte=None if difference is None else difference.byte,
            fuel_then=None if claim.result.fuel is None else int(claim.result.fuel),
            fuel_now=ended.usage.fuel,
            memory_then=memory_then,
            memory_now=ended.usage.memory_bytes,
        )


class NewCodeError(ReplayError):
    """The new code cannot be run at all; the message says why."""


def find_denials(log: bytes) -> list[str]:
    """Return the lines of a log that say what a guest was denied."""
    return [line.decode(errors="replace") for line in _DENIAL.findall(log)]


def describe_call(differs: CallDifference) -> str:
    """Say how new code asks the outside for something else than the old one."""
    if differs.asked is None:
        return f"it ended without host call {differs.call}, and what follows, which the old one made"
    instead = "" if differs.recorded is None else f"; that asked for {differs.recorded}"
    return f"host call {differs.call}: it asks for {differs.asked}, which the old one did not{instead}"


def _name_kind(difference: Difference | None, found: RunResult) -> GateKind | Literal["identical"]:
    if difference is None:
        return "identical"
    if difference.where == "state":
        return "recovery" if found.state == "Finished" else "failure"
    return _KINDS[difference.where]
