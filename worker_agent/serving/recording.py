"""Calls of a served function that are recorded: each becomes a file, for whoever takes it from there.

What such a call gets from outside goes into a journal, so that it can be replayed against other code.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from piecework.http.exchange import Request, read_request, write_request, write_response
from piecework.protocol.codes import ErrorKind
from piecework.receipts.call_secrets import Omission, find_secret
from piecework.receipts.canonical import encode_canonical, write_number
from piecework.receipts.payload import RunClaim, RunResult, RunSubject, is_comparable, sum_args, sum_env
from piecework.receipts.recorded_calls import CALL_MAX_BYTES, CallRecord, write_call
from piecework.worker_agent.guests.frames import Assign, Done, Serving
from piecework.worker_agent.serving.function import Version
from piecework.worker_agent.tasks import Result, write_bounds

WAITING_MAX = 20
"""So many files wait for who takes them; while there are as many, no call is recorded."""
SUFFIX = ".call"
BODY_MAX_BYTES = CALL_MAX_BYTES // 2
"""A request with a larger body is not recorded: with its answer it would be too large, as a rule."""
PROGRAM = "lambda"
"""What a recorded call sees as its program's name, as jobs do: a replay knows no other."""

log = structlog.get_logger("function")


@dataclass(frozen=True, kw_only=True)
class RecordingPlan:
    """Which calls are recorded, and where to."""

    folder: Path
    share: float = 1.0
    """Of all calls."""
    kept: frozenset[str] = frozenset()
    """Names, in lower case, of headers and parameters that are kept although they look secret."""


class CallDraft(NamedTuple):
    """What is known of a recorded call before it is done."""

    frame: Assign
    request: bytes
    """Its envelope."""
    at: float
    """When it began, seconds since 1970."""


class CallRecorder:
    """Has some calls recorded. ``keep`` may be called by any thread, all else by one."""

    def __init__(
        self,
        plan: RecordingPlan,
        *,
        clock: Callable[[], float],
        draw: Callable[[], float],
        draw_seed: Callable[[], bytes],
    ) -> None:
        """``clock`` tells seconds since 1970, ``draw`` gives numbers from 0 to 1, ``draw_seed`` 32 bytes."""
        self._plan = plan
        self._clock, self._draw, self._draw_seed = clock, draw, draw_seed
        self.omitted: Counter[str] = Counter()
        """Calls whose turn it was, and that were not recorded, by the reason."""

    def picks(self, request: Request) -> bool:
        """Tell whether a call is to be recorded."""
        if self._plan.share < 1 and self._draw() >= self._plan.share:
            return False
        reason = self._find_reason(request)
        if reason is not None:
            self.omitted[reason] += 1
        return reason is None

    def _find_reason(self, request: Request) -> Omission | None:
        """Return why a call cannot be recorded; None when it can."""
        if find_secret(request.headers, request.uri, self._plan.kept):
            return "secrets"
        if len(request.body) > BODY_MAX_BYTES:
            return "size"
        return "haste" if len(list(self._plan.folder.glob(f"*{SUFFIX}"))) >= WAITING_MAX else None

    def prepare(self, version: Version, request: Request, port: int) -> CallDraft:
        """Return what has a call recorded. The request comes as one that is replayed does."""
        envelope = write_request(request)
        task = replace(version.task, record=True, seed=self._draw_seed(), program=PROGRAM)
        frame = version.assign_recorded(task, Serving(read_request(envelope), port))
        return CallDraft(frame, envelope, self._clock())

    def keep(self, draft: CallDraft, done: Done, took_s: float) -> None:
        """Keep a call that was done, if it can be kept. A failure of the disk is logged."""
        try:
            record = _describe(draft, done, took_s)
            if record is None:
                return
            if done.response is not None and find_secret(done.response.headers, kept=self._plan.kept):
                self.omitted["secrets"] += 1
                return
            data = write_call(record)
            if len(data) > CALL_MAX_BYTES:
                self.omitted["size"] += 1
                return
            self._write(f"{round(draft.at * 1e6)}-{draft.frame.key}", data)
        except OSError as error:
            log.warning("a recorded call could not be kept", reason=str(error))
        finally:
            Path(draft.frame.journal_spool).unlink(missing_ok=True)

    def _write(self, name: str, data: bytes) -> None:
        """Make a file appear with all that is in it."""
        part = self._plan.folder / f"{name}.part"
        part.write_bytes(data)
        part.replace(part.with_suffix(SUFFIX))


def _describe(draft: CallDraft, done: Done, took_s: float) -> CallRecord | None:
    """Return what a call came to; None when it was given up, its node failed it, or its journal is not there."""
    task, result, digests = draft.frame.task, done.result, done.result.usage.digests
    if result.cancelled or result.unfit or digests is None or digests.journal is None or done.response is None:
        return None
    if result.error is not None and result.error.kind in {ErrorKind.LOAD, ErrorKind.WORKER}:
        return None
    answer = None if result.error is not None else write_response(done.response)
    claim = RunClaim(
        subject=RunSubject(
            runtime=task.runtime,
            mode="http",
            profile="record",
            module=task.checksum,
            input=_sum(draft.request),
            args=sum_args(task.args),
            env=sum_env(task.env),
            limits=write_bounds(task.bounds),
            seed=(task.seed or b"").hex(),
            journal=digests.journal,
            journal_cut=digests.journal_cut,
            served=True,
        ),
        result=_read_result(result, answer),
    )
    parts = [draft.request, encode_canonical(task.args), _read(result), *([] if answer is None else [answer])]
    memory = result.usage.memory_bytes
    return CallRecord(at=draft.at, took_s=took_s, memory_bytes=memory, claim=claim, parts=parts)


def _read_result(result: Result, answer: bytes | None) -> RunResult:
    error, fuel, digests = result.error, result.usage.fuel, result.usage.digests
    kind, is_cut = None if error is None else error.kind, digests is not None and digests.journal_cut
    return RunResult(
        state="Finished" if error is None else "Fail_Execution",
        exit_code=result.exit_code,
        error_kind=kind,
        output=None if answer is None else _sum(answer),
        fuel=None if fuel is None else write_number(fuel),
        comparable=is_comparable(kind, fuel) and not is_cut,
    )


def _read(result: Result) -> bytes:
    """Return the journal of a recorded run."""
    journal = result.journal
    return journal if isinstance(journal, bytes) else Path(journal.path).read_bytes() if journal else b""


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
