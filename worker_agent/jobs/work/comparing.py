"""What came of a replay beside what its receipt says: the same, or where it first differs."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from piecework.http.exchange import EnvelopeError, read_response
from piecework.protocol.job_files import sum_files
from piecework.receipts.canonical import write_number
from piecework.receipts.errors import ReceiptError
from piecework.receipts.parts import LIST_MAX_BYTES, read_list
from piecework.receipts.payload import RunClaim, RunResult, is_comparable
from piecework.receipts.replays import Comparison, Difference, Where
from piecework.worker_agent.jobs.work.collecting import TooMuchError, collect, open_file
from piecework.worker_agent.runtimes.answering import HTTP
from piecework.worker_agent.runtimes.journal.differences import CallDifference
from piecework.worker_agent.tasks import Result, Task

FIELDS: tuple[tuple[str, Where], ...] = (
    ("state", "state"),
    ("error_kind", "error kind"),
    ("exit_code", "exit code"),
    ("output", "output"),
    ("made", "files that it gave back"),
    ("memory", "memory"),
    ("fuel", "fuel"),
)
"""What is compared, in this order: what comes first tells most."""
SAID_BYTES = 200


class RecordedRun(Protocol):
    """What came of a run, with what that names, as far as a comparison asks for it."""

    @property
    def claim(self) -> RunClaim: ...

    def read(self, digest: str, most_bytes: int, /) -> bytes:
        """Return the bytes of a part. Raises ReceiptError when they are too many, missing, or others."""


def read_result(task: Task, ended: Result) -> tuple[RunResult, dict[str, str] | None]:
    """Return what a run came to, as receipts say it, and the digests of the files that it gave back."""
    error, digests = ended.error, ended.usage.digests
    ended_itself = error is None or bool(ended.exit_code)
    made = _sum_made(task) if ended_itself else None
    kind, fuel = None if error is None else error.kind, ended.usage.fuel
    return RunResult(
        state="Finished" if error is None else "Fail_Execution",
        exit_code=ended.exit_code,
        error_kind=kind,
        output=None if digests is None else digests.output,
        made=None if made is None else sum_files(made.items()),
        memory=None if digests is None else digests.memory,
        fuel=None if fuel is None else write_number(fuel),
        comparable=is_comparable(kind, fuel),
    ), made


def compare(parts: RecordedRun, task: Task, ended: Result) -> Comparison:
    """Compare a replay with the receipt. Raises ReceiptError, OSError."""
    claimed = parts.claim
    found, made = read_result(task, ended)
    if ended.difference is not None:
        was_cut = claimed.subject.journal_cut and ended.difference.is_cut
        return Comparison(
            verdict="cut" if was_cut else "different",
            difference=_name_call(ended.difference),
            result=found,
            files=made,
        )
    difference = find_difference(parts, found, ended, made)
    if difference is None:
        return Comparison(verdict="identical", result=found, files=made)
    fair = claimed.result.comparable and found.comparable
    return Comparison(
        verdict="different" if fair else "incomparable", difference=difference, result=found, files=made
    )


def _name_call(found: CallDifference) -> Difference:
    return Difference(where="host call", call=found.call, byte=found.byte, message=found.message)


def find_difference(
    parts: RecordedRun,
    found: RunResult,
    ended: Result,
    made: dict[str, str] | None,
    fields: Sequence[tuple[str, Where]] = FIELDS,
) -> Difference | None:
    """Return the first of some fields in which a result is not what the receipt says.

    Raises ReceiptError, OSError.
    """
    claimed = parts.claim.result
    for name, where in fields:
        then, now = getattr(claimed, name), getattr(found, name)
        if then == now:
            continue
        if where == "output" and then is not None and now is not None:
            return _find_byte(parts, then, ended)
        if where == "files that it gave back" and then is not None and made is not None:
            return _find_file(parts, then, made)
        said = f": {ended.error.message}" if ended.error is not None and where in {"state", "error kind"} else ""
        message = f"the {where} differs: then {_show(then)}, now {_show(now)}{said}"
        return Difference(where=where, message=message)
    return None


def _find_byte(parts: RecordedRun, then: str, ended: Result) -> Difference:
    """Return at which byte two outputs differ."""
    try:
        old = parts.read(then, int(parts.claim.subject.limits.output_bytes))
    except ReceiptError as error:
        return Difference(where="output", message=f"the output differs, from which byte on is not known: {error}")
    new = ended.output if isinstance(ended.output, bytes) else Path(ended.output.path).read_bytes()
    if parts.claim.subject.mode == HTTP:
        return _find_in_answer(old, new)
    return _find_in_bytes(old, new, "output")


def _find_in_bytes(old: bytes, new: bytes, what: str) -> Difference:
    byte = next((n for n, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), None)
    if byte is None:
        byte = min(len(old), len(new))
    message = f"the {what} differs from byte {byte} on: then {len(old)} bytes, now {len(new)}"
    return Difference(where="output", byte=byte, message=message)


def _find_in_answer(old: bytes, new: bytes) -> Difference:
    """Return where two answers to an HTTP request differ."""
    try:
        then, now = read_response(old), read_response(new)
    except EnvelopeError:
        return _find_in_bytes(old, new, "output")
    if then.status != now.status:
        said = f": {now.body[:SAID_BYTES].decode(errors='replace')}" if now.status >= 500 else ""
        return Difference(
            where="HTTP status", message=f"it answers with the status {now.status}, then {then.status}{said}"
        )
    if then.headers != now.headers:
        names = sorted({name for name, _ in {*then.headers} ^ {*now.headers}}) or ["their order"]
        return Difference(
            where="output", message=f"the headers of the answer differ: {', '.join(names)[:SAID_BYTES]}"
        )
    return _find_in_bytes(then.body, now.body, "body of the answer")


def _find_file(parts: RecordedRun, then: str, made: dict[str, str]) -> Difference:
    """Return which file differs that a job gave back."""
    old = dict(read_list(parts.read(then, LIST_MAX_BYTES), "the list of the files that it gave back"))
    path = min(path for path in old.keys() | made.keys() if old.get(path) != made.get(path))
    how = "is not there" if path not in made else "was not there then" if path not in old else "has other bytes"
    return Difference(where="files that it gave back", message=f"the file {path!r} that it gave back {how}")


def _sum_made(task: Task) -> dict[str, str] | None:
    """Return the digests of files that are given back; None when nothing is, or not all can be."""
    folder = task.folder
    if folder is None or not folder.outputs:
        return None
    root = Path(folder.path)
    try:
        found = collect(root, folder.outputs, task.bounds.files_bytes)
    except TooMuchError:
        return None
    if found.left_out:
        return None
    digests = {}
    for each in found.files:
        with open_file(root, each.name) as file:
            digests[each.name] = hashlib.sha256(file.read()).hexdigest()
    return digests


def _show(value: Any) -> str:
    return "none" if value is None else str(value)
