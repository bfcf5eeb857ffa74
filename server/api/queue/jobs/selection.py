"""Which jobs a request means."""

import msgspec

from piecework.protocol.ids import Id
from piecework.protocol.messages import JobSelection
from piecework.server.errors import InvalidParameter
from piecework.server.services import Services
from piecework.server.store.queue.jobs.filters import JobFilter
from piecework.server.web.paging import PageQuery
from piecework.text.selection import read_kinds, read_states, read_time


class SelectionQuery(PageQuery):
    """Which jobs to show: ``JobSelection`` has the same fields."""

    state: str | None = None
    """Only jobs in this state, or in one of several with commas between them."""
    lambda_: str | None = msgspec.field(default=None, name="lambda")
    """Only jobs of this lambda, by its id or as ``name@id``, or of all lambdas of a name."""
    group: str | None = None
    """Only jobs of this group: its id, or a name."""
    tag: str | None = None
    """Only jobs with this tag, spelled as it was submitted."""
    tenant: str | None = None
    """Only jobs of this tenant."""
    worker: Id | None = None
    """Only jobs that this worker runs, or ran last."""
    schedule: str | None = None
    """Only jobs that this schedule submitted, by its id or name."""
    submitter: str | None = None
    """Only jobs that were submitted with the token of this name."""
    key: str | None = None
    """Only the job with this idempotency key."""
    text: str | None = None
    """Only jobs in whose own arguments, key or error this text stands, its letters of ASCII in any case."""
    kind: str | None = None
    """Only jobs whose last failed attempt failed so: a kind of failure, or several with commas between them."""
    since: str | None = None
    """Only jobs that ended then or later: a time (RFC 3339), or how long ago, such as ``1h30m``. Of jobs that have
    not ended, it is the time of their submission that counts."""
    before: str | None = None
    """Only jobs that ended, or were submitted, then or earlier."""


def read_filter(services: Services, given: JobSelection | SelectionQuery) -> JobFilter:
    """Return the filter that a request describes. Raises ValueError that says what is wrong with it."""
    now = services.clock()
    return JobFilter(
        states=() if given.state is None else read_states(given.state),
        lambda_=None if given.lambda_ is None else services.lambdas.select(given.lambda_),
        group_id=None if given.group is None else services.groups.find(given.group).id,
        tag=given.tag,
        tenant=given.tenant,
        worker_id=given.worker,
        schedule_id=None if given.schedule is None else services.schedules.find_id(given.schedule),
        submitter=given.submitter,
        key=given.key,
        text=given.text,
        kinds=() if given.kind is None else read_kinds(given.kind),
        since=None if given.since is None else read_time(given.since, now),
        until=None if given.before is None else read_time(given.before, now),
    )


def read_query(services: Services, query: SelectionQuery) -> JobFilter:
    """Return the filter that a query describes. Raises InvalidParameter."""
    try:
        return read_filter(services, query)
    except ValueError as error:
        raise InvalidParameter(f"the query is wrong: {error}") from error
