"""Contracts, heartbeats and outcomes: ``/worker/{id}/…``."""

from collections.abc import Mapping, Sequence
from functools import partial

from flask import Response
from msgspec import UNSET

from piecework.protocol.codes import Code
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    Content,
    ContractReply,
    ContractRequest,
    FinishReply,
    FinishRequest,
    HeartbeatReply,
    HeartbeatRequest,
    LeasedFolder,
    LeasedJob,
    LeasedLambda,
    Limits,
    Maybe,
)
from piecework.server.api.queue.jobs.replays import add_replay, leased_files
from piecework.server.dialects import v05
from piecework.server.services import Services
from piecework.server.services.queue.leasing.contracts import Contracted
from piecework.server.services.queue.lifecycle.details import merge_terms
from piecework.server.services.queue.waiting.pauses import Work
from piecework.server.store.queue.jobs.files import StoredFile
from piecework.server.store.records import Job, Lambda
from piecework.server.web.endpoint import endpoint, message_response, wants_msgpack


@endpoint("POST", "/worker/<worker>/contract", scope="worker", body=ContractRequest, reply=ContractReply)
def contract(services: Services, id_: Id, body: ContractRequest) -> Work[ContractReply]:
    """Hand in outcomes and ask for jobs; waits up to `timeout` seconds for one."""
    contracted = yield from services.contracts.contract(id_, body)
    if services.traces.is_on:
        services.traces.note_outcomes(ack.job for ack in contracted.acks if not ack.code)
        services.traces.note_leased(contracted.jobs)
    if not body.knows_leases:
        return v05.write_contract(id_, [job.id for job in contracted.jobs])
    known = services.lambdas.get_many(job.lambda_id for job in contracted.shown)
    codices = services.lambdas.find_codices(each.codex for each in known.values())
    jobs = _leased_jobs(contracted, known, services.settings.default_limits, body.inline_max_bytes)
    return ContractReply(
        code=int(Code.OK if jobs else Code.NO_JOB),
        id=id_,
        message=UNSET if jobs else "no job",
        jobs=jobs,
        lambdas=[_leased_lambda(each, codices.get(each.codex)) for each in known.values()],
        acks=list(contracted.acks),
        drain=contracted.drain,
    )


@endpoint("POST", "/worker/<worker>/finish", scope="worker", body=FinishRequest, reply=FinishReply)
def finish(services: Services, id_: Id, body: FinishRequest) -> Response:
    """Hand in outcomes. 409 when every one of them was refused."""
    recorded = services.outcomes.finish(id_, body.outcomes)
    services.traces.note_outcomes(ack.job for ack in recorded.acks if not ack.code)
    if not recorded.all_refused:
        return message_response(FinishReply(acks=recorded.acks))
    message = recorded.acks[0].message
    return message_response(
        FinishReply(code=recorded.acks[0].code, status="error", acks=recorded.acks, message=message), 409
    )


@endpoint("POST", "/worker/<worker>/heartbeat", scope="worker", body=HeartbeatRequest, reply=HeartbeatReply)
def heartbeat(services: Services, id_: Id, body: HeartbeatRequest) -> HeartbeatReply:
    """Renew leases, hand in what running jobs logged, learn what to stop."""
    return services.contracts.heartbeat(id_, body)


def _leased_lambda(found: Lambda, codex: tuple[bytes, int] | None) -> LeasedLambda:
    digest, size = codex or (b"", 0)
    return LeasedLambda(
        id=Id(found.id),
        name=found.name or "",
        runtime=found.runtime,
        codex=Id(found.codex),
        codex_checksum=digest.hex(),
        codex_size=size,
        grants=found.options.grants,
        deterministic=found.options.deterministic,
        record=found.options.record or UNSET,
        mode=found.options.mode,
    )


def _leased_jobs(
    contracted: Contracted, known: Mapping[int, Lambda], defaults: Limits, inline_max_bytes: int
) -> list[LeasedJob]:
    packed, leased = wants_msgpack(), []
    alike: dict[tuple[int, str | None], partial[LeasedJob]] = {}
    for job, shown in zip(contracted.jobs, contracted.shown, strict=True):
        key = (shown.lambda_id, shown.options_json)
        if key not in alike:
            alike[key] = _with_terms(shown, known[shown.lambda_id], defaults)
        blob = contracted.inputs.get(shown.input_id)
        if blob is not None and blob.content is not None and blob.size <= inline_max_bytes:
            input_ = Content.of(blob.content, packed=packed, blob=Id(blob.id))
        else:
            input_ = Content(id=Id(shown.input_id))
        files = contracted.files.get(shown.id)
        leased.append(
            alike[key](
                job=Id(job.id),
                lease=job.lease or "",
                lease_s=contracted.lease_s,
                attempt=job.attempt,
                input=input_,
                input_checksum=blob.sha256.hex() if blob else "",
                input_size=blob.size if blob else 0,
                files=leased_files(files) or UNSET if files is not None else UNSET,
                traceparent=(job.options.trace or UNSET) if job.options_json else UNSET,
                folder=_leased_folder(contracted.given.get(shown.id, ()), shown) if shown.options_json else UNSET,
            )
        )
        if job.options_json and job.options.replays is not None:
            add_replay(leased[-1], job, contracted.replays.get(job.id))
    return leased


def _leased_folder(files: Sequence[StoredFile], job: Job) -> Maybe[LeasedFolder]:
    if not job.options.has_folder:
        return UNSET
    return LeasedFolder(files=leased_files(files), outputs=list(job.options.outputs))


def _with_terms(job: Job, lambda_: Lambda, defaults: Limits) -> partial[LeasedJob]:
    """Write what a job runs with, and others like it."""
    terms = merge_terms(job, lambda_, defaults)
    return partial(
        LeasedJob,
        lambda_=Id(job.lambda_id),
        args=terms.args,
        env=terms.env,
        limits=terms.limits,
        ok_codes=terms.ok_codes or UNSET,
    )
