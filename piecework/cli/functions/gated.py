"""Revisions that are deployed only when they pass a gate: the function's recorded calls, replayed against them."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rich_click as click
from msgspec.structs import replace

from piecework.cli.failures import warn
from piecework.cli.gating import (
    LAST_MAX,
    POLICIES,
    Calls,
    Candidate,
    GateOptions,
    NoRecords,
    OldCode,
    run_gate,
)
from piecework.cli.options.kinds import STDIN
from piecework.cli.remote import Remote
from piecework.cli.screen.function_rows import tell_unrecorded
from piecework.cli.screen.gate_rows import list_findings, summarize
from piecework.cli.stock.code import find_runtime, read_code
from piecework.client import Client, NotFound
from piecework.client.functions.functions import find_revision
from piecework.protocol.bodies import encode
from piecework.protocol.ids import Id
from piecework.protocol.messages import FunctionInfo, GateEvidence, LambdaInfo, RevisionInfo, given
from piecework.protocol.names import ModuleName, is_name
from piecework.protocol.secrets import MASK
from piecework.receipts.canonical import encode_canonical
from piecework.receipts.errors import ReceiptError
from piecework.receipts.gates import GateBounds, GateQuestion, GateRun
from piecework.receipts.payload import sum_env
from piecework.receipts.recorded_calls import RecordedCall, write_call

SHOWN = 5
"""So many findings are told of a revision that is not deployed."""
PROCESSES_MAX = 64


@dataclass(frozen=True)
class CallsGate:
    """The gate that is asked for."""

    options: GateOptions
    of: str | None
    """The revision whose calls are replayed; None: the one that gets the calls."""


class GateType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """``last=200,identical,fuel=10``."""

    name = "gate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> CallsGate:
        if isinstance(value, CallsGate):
            return value
        try:
            return read_gate(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


def read_gate(text: str) -> CallsGate:
    """Return the gate that a text asks for. Raises ValueError that says what is wrong."""
    options, bounds, of = GateOptions(), GateBounds(), None
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name in POLICIES and not value:
            name, value = "policy", name
        match name:
            case "last":
                options = options._replace(last=_read_whole(name, value, LAST_MAX))
            case "processes":
                options = options._replace(processes=_read_whole(name, value, PROCESSES_MAX))
            case "timeout":
                options = options._replace(timeout_s=_read_number(name, value) or None)
            case "policy" if value in POLICIES:
                bounds = replace(bounds, policy=value)
            case "fuel" | "memory":
                bounds = replace(bounds, **{f"{name}_percent": _read_number(name, value)})
            case "of" if is_name(value):
                of = value
            case _:
                raise ValueError(
                    f"{part!r} is none of last=N, identical, same-status, report, fuel=PERCENT, memory=PERCENT, "
                    "of=REVISION, timeout=SECONDS, processes=N"
                )
    return CallsGate(options._replace(bounds=bounds), of)


def _read_whole(name: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= most):
        raise ValueError(f"{name} is {text!r}, and must be a whole number from 1 to {most}")
    return int(text)


def _read_number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9:
        raise ValueError(f"{name} is {text!r}, and must be a number, 0 or more")
    return number


def pass_gate(
    remote: Remote,
    function: str,
    code: ModuleName | Path | Id,
    runtime: str | None,
    env: Mapping[str, str],
    gate: CallsGate,
    evidence_file: Path | None,
) -> GateEvidence:
    """Return what the gate found when it lets code through. Raises click.ClickException when it does not.

    ``env``: variables of the new revision; secret ones of the old one are taken from there.
    """
    old = find_calls(remote.client, _find_old(remote.client, function, gate.of), function, env)
    with _give_file(remote.client, code) as file:
        _, found = find_runtime(remote.client, file, runtime)
        evidence = run_gate(old, Candidate(file, found), gate.options)
    if evidence_file is not None:
        evidence_file.write_bytes(encode(evidence) + b"\n")
    if not evidence.passed:
        told = "".join(f"\n  {call}, {said}" for call, said in list(list_findings(evidence).items())[:SHOWN])
        raise click.ClickException(
            f"nothing was deployed: the gate was {summarize(evidence)}{told}\n"
            f"  'piecework function calls {old.function} CALL' shows a call"
        )
    warn(f"the gate was {summarize(evidence)}")
    return evidence


@contextmanager
def _give_file(client: Client, code: ModuleName | Path | Id) -> Iterator[Path]:
    """Yield a file with code that may be elsewhere."""
    if code == STDIN:
        raise click.UsageError("with --gate, give the code as a file: it is read several times.")
    if isinstance(code, Path):
        yield code
        return
    with tempfile.TemporaryDirectory(prefix="piecework-gate-") as folder:
        file = Path(folder) / "code"
        if isinstance(code, ModuleName):
            client.pull_module(code, file)
        else:
            file.write_bytes(read_code(client, client.lambda_(code).codex))
        yield file


def _find_old(client: Client, function: str, of: str | None) -> RevisionInfo:
    """Return the revision whose calls are replayed. Raises NoRecords, NotFound."""
    try:
        info = client.function(function)
    except NotFound as error:
        raise NoRecords(
            f"there is no function {function!r} yet: deploy its first revision without --gate, with --record 5%."
        ) from error
    if of is not None:
        return find_revision(info, of)
    called = sorted((each for each in info.revisions if each.share), key=lambda each: -each.share)
    if not called:
        raise NoRecords(f"no revision of {function} gets the calls that name none: name one with of=REVISION.")
    return next((each for each in called if given(each.recorded)), called[0])


def find_calls(client: Client, old: RevisionInfo, function: str, env: Mapping[str, str]) -> OldCode:
    """Return a revision whose recorded calls are to be replayed. Raises NoRecords when none are recorded.

    ``env``: values of variables that the server hides.
    """
    name, lambda_id, recording = f"{function}/{old.name}", given(old.lambda_), given(old.record)
    if lambda_id is None or recording is None:
        raise NoRecords(
            f"{name} keeps no records to go by. Deploy its code as another revision with --record 5% and "
            "--default, let it answer calls, and come back."
        )
    whole = {
        each: env.get(each, value) if value == MASK else value for each, value in (given(old.env) or {}).items()
    }

    def bring(folder: Path, last: int) -> Calls:
        for info in client.recorded_calls(function, old.name, limit=last):
            path = folder / str(int(info.id))
            try:
                call = RecordedCall.read_from(client.recorded_call(function, old.name, info.id).call)
                path.write_bytes(write_call(_add_env(call, whole).record))
            except NotFound:
                continue  # it was removed meanwhile
            except ReceiptError as error:
                yield GateRun(job=info.id, kind="skipped", message=str(error))
                continue
            yield GateQuestion(job=info.id, path=str(path), memory_then=call.record.memory_bytes)

    told = tell_unrecorded(old)
    advice = f"Not recorded were calls: {told}." if told else "Let it answer some first."
    return OldCode(lambda_id, bring, f"{name} has no recorded call yet. {advice}", name)


def _add_env(call: RecordedCall, env: Mapping[str, str]) -> RecordedCall:
    """Return a call with its variables, which are not kept with it. Raises ReceiptError when these are others."""
    if call.claim.subject.env != sum_env(env):
        hidden = ", ".join(name for name, value in env.items() if value == MASK) or "its secret variables"
        raise ReceiptError(f"the old values of {hidden} are not known here: give the same ones with --env")
    return call.with_parts([encode_canonical(env)])


def find_function(client: Client, lambda_: LambdaInfo) -> tuple[RevisionInfo, str] | None:
    """Return the revision that a lambda is of, and its function; None when it is of none."""
    function, slash, revision = (given(lambda_.name) or "").partition("/")
    if not slash or not is_name(function):
        return None
    try:
        info: FunctionInfo = client.function(function)
        found = find_revision(info, revision)
    except NotFound:
        return None
    return (found, function) if given(found.lambda_) == lambda_.id else None
