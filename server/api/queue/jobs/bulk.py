"""Many jobs at once: ``/job/bulk`` and ``/job/failures``."""

from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    BulkAction,
    BulkRefusal,
    FailureCount,
    FailureList,
    JobBulk,
    JobBulkReply,
    JobRetry,
    given,
)
from piecework.server.api.queue.jobs.selection import SelectionQuery, read_filter, read_query
from piecework.server.errors import InvalidRequest
from piecework.server.services import Services
from piecework.server.services.queue.changing.batches import Come
from piecework.server.services.queue.changing.bulk import BulkOrder
from piecework.server.services.queue.changing.reruns import read_edit
from piecework.server.services.queue.reading.failures import FailureReason
from piecework.server.web.endpoint import endpoint

SHOWN_MAX = 100
"""Jobs of one refusal that are named."""


@endpoint("POST", "/job/bulk", scope="submit", body=JobBulk, reply=JobBulkReply, caller=True)
def bulk(services: Services, body: JobBulk, caller: str | None) -> JobBulkReply:
    """Cancel, pause, resume, delete or run again many jobs, or undo it: a request works for two seconds."""
    if body.action == "undo":
        return _undo(services, body, caller)
    order, ids, where = _read_order(services, body, body.action, caller), given(body.ids), given(body.where)
    if ids is not None and where is None:
        come = services.bulk.work_on_ids(order, ids, dry_run=body.dry_run)
        return _tell(come, with_made=order.edit is not None)
    if where is None or ids is not None:
        raise InvalidRequest("say which jobs are meant: by `ids`, or by `where`")
    try:
        which = read_filter(services, where)
    except ValueError as error:
        raise InvalidRequest(f"`where` is wrong: {error}") from error
    come = services.bulk.work_on(order, which, given(body.cursor), dry_run=body.dry_run)
    reply = _tell(come, with_made=False)
    if body.dry_run and come.begin is not None:
        reply.begin = come.begin
    return reply


def _undo(services: Services, body: JobBulk, caller: str | None) -> JobBulkReply:
    key = given(body.key)
    if not key or any(given(each) is not None for each in (body.ids, body.where, body.edit)):
        raise InvalidRequest("undo goes with the `key` under which something was done, and nothing else")
    come = services.undoing.undo(key, caller, given(body.cursor), dry_run=body.dry_run)
    reply = _tell(come, with_made=False)
    if come.undoes is not None:
        reply.undoes = come.undoes
    return reply


def _read_order(services: Services, body: JobBulk, action: BulkAction, caller: str | None) -> BulkOrder:
    edit, key = given(body.edit), given(body.key)
    if edit is not None and action != "retry":
        raise InvalidRequest(f"`edit` goes with retry, not with {action}")
    if edit is None or body.dry_run:
        return BulkOrder(action, who=caller, key=key)
    return BulkOrder(action, read_edit(edit, services.data, services.lambdas), caller, key)


def _tell(come: Come, *, with_made: bool) -> JobBulkReply:
    reply = JobBulkReply(
        matched=come.matched, changed=len(come.done.changed), refused=_refusals(come.done.refused)
    )
    if with_made:
        reply.made = [JobRetry(job=Id(job), made=Id(made)) for job, made in come.done.made.items()]
    if come.next is not None:
        reply.next = come.next
    return reply


def _refusals(refused: dict[str, list[int]]) -> list[BulkRefusal]:
    return [
        BulkRefusal(message=reason, jobs=list(map(Id, ids[:SHOWN_MAX])), count=len(ids))
        for reason, ids in refused.items()
    ]


@endpoint("GET", "/job/failures", scope="view", query=SelectionQuery, reply=FailureList)
def failures(services: Services, query: SelectionQuery) -> FailureList:
    """Count failed jobs that were not run again, by lambda and reason, the most frequent first."""
    found, total = services.failures.count(read_query(services, query), query.limit)
    return FailureList(failures=[_failure(each) for each in found], total=total)


def _failure(reason: FailureReason) -> FailureCount:
    found = reason.failures
    return FailureCount(
        lambda_=Id(found.lambda_id),
        lambda_name=reason.lambda_.name or UNSET,
        kind=found.kind,
        message=found.message,
        count=found.jobs,
        first_at=found.first_at / 1000,
        last_at=found.last_at / 1000,
        job=Id(found.newest),
    )
