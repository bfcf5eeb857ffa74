"""Workers: ``/worker``, but contracts."""

from functools import partial

from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    HeldJob,
    MessageReply,
    OwnerInfo,
    OwnerList,
    WorkerInfo,
    WorkerLeave,
    WorkerList,
    WorkerRegister,
    WorkerRegistered,
    given,
)
from piecework.receipts.keys import key_id
from piecework.server.api.stock.data import ViewQuery
from piecework.server.services import Services
from piecework.server.store.records import Worker
from piecework.server.web.endpoint import endpoint
from piecework.server.web.paging import PageQuery, next_cursor


@endpoint("POST", "/worker", scope="worker", body=WorkerRegister, reply=WorkerRegistered, caller=True)
def register(services: Services, body: WorkerRegister, caller: str | None) -> WorkerRegistered:
    """Register a worker with the runtimes that it offers."""
    new = services.workers.register(body, caller)
    key = given(body.public_key)
    return WorkerRegistered(id=Id(new.id), runtime=list(new.runtimes), keyid=UNSET if key is None else key_id(key))


class WorkerListQuery(PageQuery):
    """Which workers to list."""

    all: bool = False
    """Also those that were retired, or not heard of for over a day."""


@endpoint("GET", "/worker", scope="view", query=WorkerListQuery, reply=WorkerList)
def list_all(services: Services, query: WorkerListQuery) -> WorkerList:
    """List the workers in service, newest first."""
    list_page = partial(services.workers.list_page, everyone=query.all)
    page, more = query.read(list_page, services.settings.page_max)
    rows = [_full_info(services, each) for each in page]
    return WorkerList(workers=rows, next=next_cursor([each.id for each in page], more))


@endpoint("GET", "/owner", scope="view", reply=OwnerList)
def list_owners(services: Services) -> OwnerList:
    """Tell how the workers of each owner did, as far as others ran the same jobs."""
    trusted = services.settings.trusted
    return OwnerList(
        owners=[
            OwnerInfo(
                name=each.name, streak=each.streak, agreed=each.agreed, wrong=each.wrong,
                is_trusted=each.name in trusted,
            )
            for each in services.agreement.list_owners()
        ]
    )  # fmt: skip


@endpoint("GET", "/worker/<worker>", scope=("view", "worker"), query=ViewQuery, reply=WorkerInfo)
def show(services: Services, id_: Id, query: ViewQuery) -> WorkerInfo:
    """Tell what a worker offers; with `view=full` also how it stands."""
    if query.is_full:
        info = _full_info(services, services.workers.view(id_))
        info.jobs = _held_jobs(services, id_)
        return info
    found = services.workers.get(id_)
    return WorkerInfo(id=Id(found.id), runtime=list(found.runtimes))


@endpoint("POST", "/worker/<worker>/drain", scope="operate", reply=MessageReply)
def drain(services: Services, id_: Id) -> MessageReply:
    """Ask a worker to finish what it runs and take no more."""
    services.workers.drain(id_)
    return MessageReply(message=f"worker {id_} drains")


@endpoint("POST", "/worker/<worker>/leave", scope="worker", body=WorkerLeave, reply=MessageReply)
def leave(services: Services, id_: Id, body: WorkerLeave) -> MessageReply:
    """Say that a worker's process ends: it is shown as stopped, and what it still holds goes to others."""
    services.workers.leave(id_, body.incarnation)
    return MessageReply(message=f"worker {id_} left")


@endpoint("DELETE", "/worker/<worker>", scope="operate", reply=MessageReply)
def retire(services: Services, id_: Id) -> MessageReply:
    """Remove a worker from service; its jobs become available at once."""
    services.workers.retire(id_)
    return MessageReply(message=f"worker {id_} is retired")


def _held_jobs(services: Services, id_: int) -> list[HeldJob]:
    held = services.workers.list_held(id_)
    known = services.lambdas.get_many({each.lambda_id for each in held})
    return [
        HeldJob(
            job=Id(each.job_id),
            lambda_=Id(each.lambda_id),
            name=known[each.lambda_id].name or UNSET,
            since=each.since / 1000,
            attempt=each.attempt,
        )
        for each in held
    ]


def _full_info(services: Services, found: Worker) -> WorkerInfo:
    return WorkerInfo(
        id=Id(found.id),
        runtime=list(found.runtimes),
        name=found.name,
        hostname=found.hostname,
        agent_version=found.agent_version,
        tags=list(found.tags),
        slots=found.slots,
        state=services.workers.state_of(found),
        trouble=found.trouble or UNSET,
        running=found.running,
        registered_at=found.registered_at / 1000,
        seen_at=found.seen_at / 1000,
    )
