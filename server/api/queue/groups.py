"""Groups: ``/group``."""

from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    GroupBrief,
    GroupCount,
    GroupCreate,
    GroupInfo,
    GroupList,
    GroupSeal,
    JobCreated,
    JobSubmit,
    given,
)
from piecework.server.api.queue.jobs.jobs import read_seconds
from piecework.server.errors import InvalidRequest
from piecework.server.services import Services
from piecework.server.services.queue.reading.groups import GroupView
from piecework.server.services.queue.submitting.quotas import Allowed
from piecework.server.services.queue.waiting.pauses import Work
from piecework.server.store.queue.dependencies.relations import JobGroup
from piecework.server.web.endpoint import Query, endpoint
from piecework.server.web.paging import PageQuery, next_cursor


class GroupQuery(Query):
    """Whether to wait for the jobs of a group."""

    wait: float | None = None
    """Hold the answer until all jobs that it has now are final, for that many seconds at most."""


@endpoint("POST", "/group", scope="submit", body=GroupCreate, reply=GroupInfo, caller=True)
def create(services: Services, body: GroupCreate, caller: str | None) -> GroupInfo:
    """Make a group, for jobs that name it in `group`."""
    return _info(services.groups.show(services.groups.create(given(body.name), caller, given(body.on_end))))


@endpoint("GET", "/group", scope="view", query=PageQuery, reply=GroupList)
def list_all(services: Services, query: PageQuery) -> GroupList:
    """List groups, newest first."""
    page, more = query.read(services.groups.list_page, services.settings.page_max)
    return GroupList(groups=list(map(_brief, page)), next=next_cursor([each.id for each in page], more))


@endpoint("GET", "/group/<string:group>", scope="view", query=GroupQuery, reply=GroupInfo)
def show(services: Services, ref: str, query: GroupQuery) -> Work[GroupInfo]:
    """Tell how the jobs of a group stand; with `wait` once all of them are final."""
    group = services.groups.find(ref)
    if query.wait is not None:
        yield from services.groups.wait(group, read_seconds(query.wait))
        group = services.groups.find(str(group.id))
    return _info(services.groups.show(group))


@endpoint("POST", "/group/<string:group>/seal", scope="submit", body=GroupSeal, reply=GroupInfo)
def seal(services: Services, ref: str, body: GroupSeal) -> GroupInfo:
    """Close a group to further jobs. It is done once all that it has are final."""
    return _info(services.groups.show(services.groups.seal(services.groups.find(ref), given(body.on_end))))


@endpoint(
    "POST",
    "/group/<string:group>/then",
    scope="submit",
    body=JobSubmit,
    reply=JobCreated,
    caller=True,
    allowed=True,
)
def then(
    services: Services, ref: str, body: JobSubmit, caller: str | None, allowed: Allowed | None = None
) -> JobCreated:
    """Seal a group, and submit one job that runs once it is done: its input is the results, unless it has another.

    `on_failure` is `run` here when it is left out.
    """
    if body.jobs is not UNSET:
        raise InvalidRequest("`jobs` are many; one job runs after a group. Others name it in `after`")
    return JobCreated(id=Id(services.groups.submit_then(services.groups.find(ref), body, caller, allowed)))


def _info(view: GroupView) -> GroupInfo:
    jobs = sum(view.counts.values())
    return GroupInfo(
        group=_brief(view.group),
        jobs=jobs,
        left=view.left,
        progress=(jobs - view.left) / jobs if jobs else 1.0,
        counts=[GroupCount(state=state, jobs=count) for state, count in sorted(view.counts.items())],
        failures=list(map(Id, view.failures)),
        dependants=list(map(Id, view.dependants)),
    )


def _brief(group: JobGroup) -> GroupBrief:
    return GroupBrief(
        id=Id(group.id),
        name=group.name or UNSET,
        submitter=group.submitter or UNSET,
        created_at=group.created_at / 1000,
        sealed_at=UNSET if group.sealed_at is None else group.sealed_at / 1000,
        done_at=UNSET if group.done_at is None else group.done_at / 1000,
        state=UNSET if group.state_name is None else group.state,
        on_end=group.on_end or UNSET,
    )
