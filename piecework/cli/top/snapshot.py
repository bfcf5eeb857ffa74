"""What `piecework top` shows, read from a server at one time."""

from collections.abc import Callable
from dataclasses import dataclass, field

from piecework.cli.screen.display import to_document
from piecework.client import Client
from piecework.client.errors import Refused
from piecework.protocol.ids import Id
from piecework.protocol.messages import JobInfo, JobLog, StatsReply, StatusReply, WorkerInfo

JOBS_MAX = 200
"""Jobs that are looked at; a filter narrows which."""
LAMBDAS_MAX = 100
LOG_TAIL = 4_000
"""Characters of a job's log that are shown, the newest."""


@dataclass(frozen=True)
class Wish:
    """Which jobs are to be read."""

    state: str | None = None
    lambda_: str | None = None
    worker: str | None = None
    job: Id | None = None
    """The one that is open."""


@dataclass(frozen=True)
class Snapshot:
    """A server at one time."""

    wish: Wish
    status: StatusReply
    stats: StatsReply
    workers: list[WorkerInfo]
    jobs: list[JobInfo]
    opened: JobInfo | None = None
    log: str = ""
    held: dict[Id, list[Id]] = field(default_factory=dict)
    """The jobs that the listed workers hold, the first of each, by worker."""

    def document(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {
            "status": to_document(self.status),
            "stats": to_document(self.stats),
            "workers": [to_document(each) for each in self.workers],
            "jobs": [to_document(each) for each in self.jobs],
        }


def take_snapshot(client: Client, wish: Wish) -> Snapshot:
    """Read what there is now. Raises ClientError."""
    jobs = list(client.jobs(limit=JOBS_MAX, why=True, state=wish.state, lambda_=wish.lambda_, worker=wish.worker))
    held: dict[Id, list[Id]] = {}
    for each in client.jobs(limit=JOBS_MAX, state="running"):
        if isinstance(each.worker, Id):
            held.setdefault(each.worker, []).append(each.id)
    opened = client.job(wish.job) if wish.job is not None else None
    return Snapshot(
        wish,
        client.status(),
        client.stats("hour", lambdas=LAMBDAS_MAX),
        list(client.workers()),
        jobs,
        opened,
        _read_tail(lambda: client.log(opened.id)) if opened else "",
        held,
    )


def _read_tail(read: Callable[[], JobLog]) -> str:
    try:
        return read().text[-LOG_TAIL:]
    except Refused:
        return ""
