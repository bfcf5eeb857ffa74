"""Clients of v0.5: what they send under older names and without leases, and how they are answered.

Inside the server there are the names of ``piecework.protocol.messages`` alone. A job that such a client took has a
lease as every other; but he does not know its token, so what he reports counts as if he had sent it.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
from msgspec import UNSET

from piecework.protocol.bodies import MessageError, decode
from piecework.protocol.codes import Code, ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    BlobRef,
    Content,
    ContractReply,
    ContractRequest,
    JobCreated,
    JobError,
    JobInfo,
    JobSpec,
    JobSubmit,
    JobUpdate,
    LambdaCreate,
    Maybe,
    Message,
    NamespaceCreate,
    NamespaceCreated,
    Outcome,
    ValueDelete,
    ValueSet,
    WorkerRegister,
    WorkerRegistered,
)
from piecework.protocol.states import JobState
from piecework.server.dialects.unknown import (
    EXTENDED,
    Unknown,
    describe,
    find_unknown,
    loosen_parts,
    read_strictly,
    strict_fields,
)
from piecework.server.store.records import Job

MessageT = TypeVar("MessageT", bound=Message)

NAMES: dict[type[Message], dict[str, str]] = {
    JobSpec: {"functio": "lambda_", "input_id": "input", "extra_tag": "tags"},
    LambdaCreate: {"code_id": "codex"},
    WorkerRegister: {"runtimes": "runtime", "execulator": "runtime"},
    ContractRequest: {"extra_tag": "tags"},
    JobUpdate: {"state": "status"},
    ValueSet: {},
    ValueDelete: {},
}
"""Older names of fields, by message: each stands for the field whose name is beside it."""
NAMES[JobSubmit] = NAMES[JobSpec]
FIELDS: dict[type[Message], frozenset[str]] = {
    JobSubmit: frozenset({"lambda_", "input", "tags", "status", *NAMES[JobSpec]}),
    LambdaCreate: frozenset({"codex", "runtime", *NAMES[LambdaCreate]}),
    ValueSet: frozenset({"value", "expire", "append", "get"}),
    ValueDelete: frozenset(),
}
"""The fields of v0.5, in messages whose other fields are extensions: beside these, unknown fields are refused."""
FIELDS[JobSpec] = FIELDS[JobSubmit]
OTHERS = frozenset({"timeout"})
"""What clients of v0.5 may send with no thought of the extension whose name is like it."""
NEAR = 0.8
"""How like an extension's name a field must be to count as a misspelled one, whatever else the request has."""
TRANSLATED = frozenset({JobCreated, WorkerRegistered, NamespaceCreated})
"""Answers that may be others to older names."""
NO_LEASE = "v0.5"
"""Stands for the token that these clients do not have where no lease is theirs."""
REPORTED_ERROR = JobError(kind=ErrorKind.GUEST, message="the worker reported a failure")


class OldJobInfo(JobInfo, kw_only=True):
    """One job, with what older clients read under other names. They all speak JSON."""

    job_status: Maybe[JobState] = UNSET
    job_input_id: Maybe[Id] = UNSET
    job_output_id: Maybe[Id | None] = UNSET
    functio: Maybe[Id] = UNSET
    runtime: Maybe[str] = UNSET
    lambda_id: Maybe[Id] = UNSET


class OldJobCreated(JobCreated, kw_only=True):
    """The answer to a submission under older names."""

    jid: Maybe[Id] = UNSET


class OldWorkerRegistered(WorkerRegistered, kw_only=True):
    """The answer to a worker that registers under older names."""

    wid: Maybe[Id] = UNSET


class OldContractReply(ContractReply, kw_only=True):
    """The answer to a contract of who knows no leases."""

    job: Maybe[Id] = UNSET
    job_id: Maybe[Id] = UNSET


class OldNamespaceCreated(NamespaceCreated, kw_only=True):
    """The answer to a new namespace whose consistency was named: who does that knows no ``status`` here."""

    status: Maybe[str] = UNSET  # type: ignore[assignment]  # the one answer that lacks it


@cache
def wire_type(type_: type[MessageT], *, strict: bool = False) -> type[MessageT]:
    """Return the kind of a message that also has older names.

    A ``strict`` one is not read from a body with other fields; parts that are no worker's never are.
    """
    if type_ not in NAMES:
        return type_
    known = {each.name: each for each in msgspec.structs.fields(type_)}
    fields: list[tuple[str, Any, Any]] = [
        (old, known[new].type, known[new].default) for old, new in NAMES[type_].items()
    ]
    if type_ in FIELDS:
        fields += strict_fields(type_)
    if "jobs" in known:
        fields.append(("jobs", Maybe[list[wire_type(JobSpec, strict=strict)]], UNSET))  # type: ignore[misc]
    made: Any = msgspec.defstruct(
        type_.__name__, fields, bases=(type_,), kw_only=True, forbid_unknown_fields=strict
    )
    return cast("type[MessageT]", made)


def read(body: bytes, type_: type[MessageT], media_type: str | None) -> MessageT:
    """Read a message under newer and older names; what was sent under these stands under those too.

    Fields that there are not are ignored, but refused beside extensions. Raises as ``decode`` does, and
    MessageError for such a field.
    """
    if type_ in EXTENDED:
        return read_strictly(body, type_, media_type)
    if type_ not in NAMES:
        return decode(body, type_, media_type)
    message = _read_named(body, type_, media_type)
    _rename(message, NAMES[type_])
    if isinstance(message, JobSubmit) and message.jobs is not UNSET:
        for spec in message.jobs:
            _rename(loosen_parts(spec), NAMES[JobSpec])
    return loosen_parts(message)


def _read_named(body: bytes, type_: type[MessageT], media_type: str | None) -> MessageT:
    message: MessageT
    try:
        message = decode(body, wire_type(type_, strict=type_ in FIELDS), media_type)
    except MessageError as error:
        unknown = find_unknown(error)
        if unknown is None:
            raise
        message = _read_leniently(body, type_, media_type)
        if unknown.where or not _may_be_old(unknown, message, type_):
            raise MessageError(describe(unknown, wire_type(type_))) from error
    return message


def _read_leniently(body: bytes, type_: type[MessageT], media_type: str | None) -> MessageT:
    """Read a message with unknown fields, but not in parts that v0.5 has not."""
    try:
        message: MessageT = decode(body, wire_type(type_), media_type)
    except MessageError as error:
        if unknown := find_unknown(error):
            raise MessageError(describe(unknown, wire_type(type_))) from error
        raise
    return message


def _rename(message: Message, names: dict[str, str]) -> None:
    for old, new in names.items():
        sent = getattr(message, old)
        if sent is UNSET or sent is None:
            continue
        known = getattr(message, new)
        if new == "tags":
            message.tags = [*(known or ()), *sent]  # type: ignore[attr-defined]
        elif known is UNSET or known is None:
            setattr(message, new, sent)


def _may_be_old(unknown: Unknown, message: Message, type_: type[Message]) -> bool:
    """Tell whether an unmodified client of v0.5 may have sent a request with an unknown field."""
    extensions = [each.encode_name for each in msgspec.structs.fields(type_) if each.name not in FIELDS[type_]]
    return not _is_extended(message, FIELDS[type_]) and (
        unknown.name in OTHERS or not get_close_matches(unknown.name, extensions, 1, NEAR)
    )


def _is_extended(message: Message, old: frozenset[str]) -> bool:
    """Tell whether a request uses a field that v0.5 has not, or an input that came along."""
    for field in msgspec.structs.fields(message):
        value = getattr(message, field.name)
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if isinstance(value, Content) or (field.name not in old and value != default):
            return True
    return False


def write(reply: object, asked: Message | None) -> object:
    """Return a reply as the client reads it who asked so: old names get old names."""
    if type(reply) not in TRANSLATED:
        return reply
    match reply:
        case JobCreated() if reply.id is not UNSET and _spoke_old_names(asked):
            return OldJobCreated(**msgspec.structs.asdict(reply), jid=reply.id)
        case WorkerRegistered() if _spoke_old_names(asked):
            return OldWorkerRegistered(**msgspec.structs.asdict(reply), wid=reply.id)
        case NamespaceCreated() if isinstance(asked, NamespaceCreate) and isinstance(asked.consistency, str):
            return OldNamespaceCreated(id=reply.id)
    return reply


def _spoke_old_names(asked: object) -> bool:
    """Tell whether a request used an older name. Many of ours have empty tags under theirs."""
    names = NAMES.get(type(asked).__mro__[1], {})
    return any(getattr(asked, old) is not (None if new == "tags" else UNSET) for old, new in names.items())


def add_old_names(infos: list[JobInfo]) -> list[JobInfo]:
    """Repeat what older clients read under other names, in infos that have room for it."""
    for info in infos:
        assert isinstance(info, OldJobInfo)
        info.job_status, info.job_input_id = info.state, info.input.id
        info.job_output_id = (info.output.id if isinstance(info.output, Content) else UNSET) or None
        info.functio = info.lambda_id = info.lambda_.id
        info.runtime = info.lambda_.runtime
    return infos


def write_contract(worker_id: Id, job_ids: Sequence[int]) -> OldContractReply:
    """Return the answer to a contract of who knows no leases, and so is given one job at most."""
    if not job_ids:
        return OldContractReply(code=int(Code.NO_JOB), id=worker_id, message="no job")
    job_id = Id(job_ids[0])
    return OldContractReply(id=worker_id, job=job_id, job_id=job_id)


def read_report(job: Job, state: JobState, output: Maybe[BlobRef | None]) -> Outcome | None:
    """Return what a worker reports who sets a job to a state; None when that is no report.

    Its lease is the one that the job has, unless that is another worker's, who can show its token.
    """
    if state not in {JobState.FINISHED, JobState.FAILED} and not (job.is_unfenced and state is JobState.ENQUEUED):
        return None
    return Outcome(
        job=Id(job.id),
        lease=job.lease if job.is_unfenced and job.lease else NO_LEASE,
        state=state,
        output=None if output is UNSET or state is JobState.ENQUEUED else output,
        error=REPORTED_ERROR if state is JobState.FAILED else None,
    )
