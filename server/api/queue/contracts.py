"""Contracts, heartbeats and outcomes: ``/worker/{id}/…``."""

from functools import partial
from typing import NamedTuple

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
    LeasedJob,
    LeasedLambda,
    Limits,
)
from server.dialects import v05
from server.services import Services
from server.services.queue.contracts import Contracted
from server.store.records import Job, Lambda
from server.web.endpoint import endpoint, message_response, wants_msgpack


@endpoint("POST", "/worker/<worker>/contract", scope="worker", body=ContractRequest, reply=ContractReply)
def contract(services: Services, id_: Id, body: ContractRequest) -> ContractReply:
    """Hand in outcomes and ask for jobs; waits up to `timeout` seconds for one."""
    contracted = services.contracts.contract(id_, body)
    if not body.knows_leases:
        return v05.write_contract(id_, [job.id for job in contracted.jobs])
    known = services.lambdas.get_many(job.lambda_id for job in contracted.jobs)
    codices = services.lambdas.find_codices(each.codex for each in known.values())
    terms = _Terms(services.settings.default_limits)
    write = partial(
        _leased_job, contracted=contracted, inline_max_bytes=body.inline_max_bytes, packed=wants_msgpack()
    )
    jobs = [write(job, terms.of(job, known[job.lambda_id])) for job in contracted.jobs]
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
        mode=found.options.mode,
    )


class _Terms:
    """What jobs run with: their own options over their lambda's over the server's. Many are alike."""

    def __init__(self, defaults: Limits) -> None:
        self._defaults = defaults
        self._known: dict[tuple[int, str | None], _Run] = {}

    def of(self, job: Job, lambda_: Lambda) -> "_Run":
        key = (job.lambda_id, job.options_json)
        if key not in self._known:
            mine, theirs = job.options, lambda_.options
            args = list(theirs.args if mine.args is None else mine.args)
            limits = mine.limits.over(theirs.limits).over(self._defaults)
            self._known[key] = _Run(Id(job.lambda_id), args, {**theirs.env, **mine.env}, limits)
        return self._known[key]


class _Run(NamedTuple):
    """The part of leased jobs that is alike for many."""

    lambda_: Id
    args: list[str]
    env: dict[str, str]
    limits: Limits


def _leased_job(job: Job, run: _Run, *, contracted: Contracted, inline_max_bytes: int, packed: bool) -> LeasedJob:
    blob = contracted.inputs.get(job.input_id)
    input_ = Content(id=Id(job.input_id))
    if blob is not None and blob.content is not None and blob.size <= inline_max_bytes:
        input_ = Content.of(blob.content, packed=packed, blob=Id(blob.id))
    return LeasedJob(
        job=Id(job.id),
        lease=job.lease or "",
        lease_s=contracted.lease_s,
        attempt=job.attempt,
        lambda_=run.lambda_,
        input=input_,
        input_checksum=blob.sha256.hex() if blob else "",
        input_size=blob.size if blob else 0,
        args=run.args,
        env=run.env,
        limits=run.limits,
    )
