"""Lambdas: ``/lambda``."""

from functools import partial
from typing import TypeVar

from msgspec import UNSET

from piecework.protocol.bodies import decode
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    GateEvidence,
    LambdaCreate,
    LambdaCreated,
    LambdaInfo,
    LambdaList,
    Maybe,
    MemosInfo,
    MessageReply,
)
from piecework.protocol.retention import retain_s
from piecework.protocol.secrets import mask_secrets
from piecework.server.api.stock.data import ViewQuery
from piecework.server.errors import BlobNotFound
from piecework.server.services import Services
from piecework.server.store.records import Lambda
from piecework.server.web.endpoint import Query, endpoint
from piecework.server.web.paging import PageQuery, next_cursor

T = TypeVar("T")


@endpoint("POST", "/lambda", scope="submit", body=LambdaCreate, reply=LambdaCreated)
def create(services: Services, body: LambdaCreate) -> LambdaCreated:
    """Create a lambda: a code blob with the runtime that it needs, and defaults for its jobs."""
    return LambdaCreated(id=Id(services.lambdas.create(body).id))


class LambdaListQuery(PageQuery):
    """Which lambdas to list."""

    name: str | None = None
    """Only those of this name."""


@endpoint("GET", "/lambda", scope="view", query=LambdaListQuery, reply=LambdaList)
def list_all(services: Services, query: LambdaListQuery) -> LambdaList:
    """List lambdas, newest first."""
    page, more = query.read(partial(services.lambdas.list_page, query.name), services.settings.page_max)
    rows = [_full_info(services, each) for each in page]
    return LambdaList(lambdas=rows, next=next_cursor([each.id for each in page], more))


@endpoint("GET", "/lambda/<ref:lambda>", scope=("view", "worker"), query=ViewQuery, reply=LambdaInfo)
def show(services: Services, ref: str, query: ViewQuery) -> LambdaInfo:
    """Tell a lambda's codex and runtime; with `view=full` also its defaults."""
    found = services.lambdas.resolve(ref)
    if query.is_full:
        return _full_info(services, found)
    return LambdaInfo(id=Id(found.id), codex=Id(found.codex), runtime=found.runtime)


class DeleteQuery(Query):
    """What becomes of jobs that have not ended."""

    cancel: bool = False
    """Cancel them first; else they keep the lambda from being deleted."""


@endpoint("DELETE", "/lambda/<ref:lambda>", scope="submit", query=DeleteQuery, reply=MessageReply, caller=True)
def delete(services: Services, ref: str, query: DeleteQuery, caller: str | None) -> MessageReply:
    """Delete a lambda: no job is submitted for it any more. Those that ended keep it until they are removed."""
    found = services.lambdas.resolve(ref)
    cancelled = services.deletion.delete(found, cancel=query.cancel, who=caller)
    also = f", and {cancelled} of its jobs cancelled" if cancelled else ""
    return MessageReply(message=f"lambda {Id(found.id)} is deleted{also}")


@endpoint("GET", "/lambda/<ref:lambda>/memos", scope="view", reply=MemosInfo)
def show_memos(services: Services, ref: str) -> MemosInfo:
    """Tell how many results are kept of the lambda's code for equal jobs, and whether they still are."""
    found = services.memos.describe(services.lambdas.resolve(ref))
    info = MemosInfo(kept=found.kept, hits=found.hits)
    if found.stop:
        info.stopped_at, info.stopped_why = found.stop.at / 1000, found.stop.detail
    return info


@endpoint("DELETE", "/lambda/<ref:lambda>/memos", scope="submit", reply=MessageReply)
def forget_memos(services: Services, ref: str) -> MessageReply:
    """Forget the results that are kept of the lambda's code. From then on, new ones are kept in any case."""
    found = services.lambdas.resolve(ref)
    count = services.memos.forget(found)
    return MessageReply(message=f"{count} results of lambda {Id(found.id)} are forgotten")


def _full_info(services: Services, found: Lambda) -> LambdaInfo:
    options = found.options
    info = LambdaInfo(
        id=Id(found.id),
        codex=Id(found.codex),
        runtime=found.runtime,
        name=found.name,
        created_at=found.created_at / 1000,
        tags=list(options.tags),
        args=list(options.args),
        env=mask_secrets(options.env),
        limits=options.limits,
        grants=options.grants,
        deterministic=options.deterministic,
        record=options.record or UNSET,
        mode=options.mode,
        ok_codes=list(options.ok_codes) or UNSET,
        outputs=list(options.outputs) or UNSET,
        retain_s=UNSET if options.retain_ms is None else retain_s(options.retain_ms),
        concurrency_key=_or_unset(options.keys.concurrency_key),
        concurrency_limit=_or_unset(options.keys.concurrency_limit),
        rate_key=_or_unset(options.keys.rate_key),
        rate_limit=_or_unset(options.keys.rate_limit),
        verify=options.verify or UNSET,
        memo=options.memo or UNSET,
        receipts=options.receipts or UNSET,
        source=options.source or UNSET,
        gate=decode(options.gate.encode(), GateEvidence) if options.gate else UNSET,
    )
    if options.keys.rate_period_ms is not None:
        info.rate_period_s = options.keys.rate_period_ms / 1000
    try:
        codex = services.data.get(found.codex)
    except BlobNotFound:
        info.codex_checksum = UNSET
    else:
        info.codex_checksum, info.codex_size = codex.sha256.hex(), codex.size
    return info


def _or_unset(value: T | None) -> Maybe[T]:
    return UNSET if value is None else value
