"""Jobs: reading them, waiting for them, cancelling them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, get_args

from piecework.protocol.states import JobState
from piecework.server.errors import InvalidParameter, InvalidRequest, JobNotFound
from piecework.server.services.core import Core
from piecework.server.services.queue.lifecycle.cancelling import cancel_jobs
from piecework.server.services.queue.lifecycle.details import Details, find_details
from piecework.server.services.queue.lifecycle.endings import Endings
from piecework.server.services.queue.lifecycle.trails import tell_trail
from piecework.server.services.queue.reading.waits import Wait, find_wait
from piecework.server.services.queue.waiting.pauses import Work
from piecework.server.services.queue.waiting.waiting import Changes, Concerns, Notifier
from piecework.server.services.stock.data import Data
from piecework.server.services.stock.lambdas import Lambdas
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.dependencies import dependencies
from piecework.server.store.queue.dependencies.relations import EdgeState
from piecework.server.store.queue.figures import events
from piecework.server.store.queue.jobs import jobs, logs, searches
from piecework.server.store.queue.jobs.filters import JobFilter
from piecework.server.store.queue.jobs.searches import Found, Spot, StateCount
from piecework.server.store.records import Blob, Event, Job, Lambda, Log
from piecework.server.store.stock import blobs, quotas

COUNTED_MAX = 100_000
"""Jobs of a list are counted up to here: more takes a second and tells nobody more."""
FAMILY_MAX = 20
"""Jobs before and after one that are told."""
IDS_MAX = 200
"""Jobs that one request may read by id."""


class JobView(NamedTuple):
    """A job with its lambda and, where asked for, its output."""

    job: Job
    lambda_: Lambda
    output: Blob | None = None


class Family(NamedTuple):
    """The jobs before and after one."""

    parents: list[JobView]
    """Those that it waits, or waited, for."""
    groups: list[int]
    """The others of what it waits for: groups, and jobs that are gone."""
    children: list[JobView]
    """Those that wait, or waited, for it."""


class Jobs:
    """The jobs of this server."""

    def __init__(self, core: Core, data: Data, lambdas: Lambdas, endings: Endings, notifier: Notifier) -> None:
        self._database, self._clock, self._settings = core.database, core.clock, core.settings
        self._now_s = core.sleeper.now_s
        self._data = data
        self._lambdas = lambdas
        self._endings = endings
        self._notifier = notifier

    def get(self, id_: int) -> Job:
        """Return a job. Raises JobNotFound."""
        with self._database.read() as connection:
            return require_job(connection, id_)

    def check_submitter(self, ids: Sequence[int], name: str) -> None:
        """Raise JobNotFound when a token did not submit one of some jobs; those that are not there pass."""
        with self._database.read() as connection:
            foreign = quotas.find_foreign(connection, name, ids)
        if foreign is not None:
            raise JobNotFound(f"there is no job {foreign}")  # as for one that is not there

    def has_made(self, name: str, blob_id: int) -> bool:
        """Tell whether a job that a token submitted made a blob: its output, or a file that it gave back."""
        with self._database.read() as connection:
            return quotas.has_made(connection, name, blob_id)

    def wait_for(self, id_: int, wanted: JobState, timeout_s: float) -> Work[Job]:
        """Return a job once it is in the wanted state, can no longer reach it, or the time is over.

        Raises JobNotFound, CapacityReached or Stopping.
        """
        yield from self._wait([id_], lambda _, state: state is wanted or state.is_final, timeout_s)
        return self.get(id_)

    def wait_for_ends(self, ids: Sequence[int], timeout_s: float, *, need_all: bool) -> Work[None]:
        """Return once any, or all, of some jobs are final, or the time is over. Raises like ``wait_for``."""
        pending = set(ids)

        def is_over(id_: int, state: JobState) -> bool:
            if state.is_final:
                pending.discard(id_)
            return not pending if need_all else state.is_final

        check_count(ids)
        yield from self._wait(ids, is_over, timeout_s)

    def get_many(self, ids: Sequence[int], *, with_output: bool) -> list[JobView]:
        """Return jobs as ``show`` does, in the order of their ids, in one statement.

        Raises JobNotFound, and InvalidRequest when there are too many.
        """
        check_count(ids)
        with self._database.read() as connection:
            if with_output:
                found = jobs.find_jobs_with_outputs(connection, ids)
            else:
                found = {id_: (job, None) for id_, job in jobs.find_jobs(connection, ids).items()}
        _check_all_found(ids, found)
        known = self._lambdas.get_many({job.lambda_id for job, _ in found.values()})
        ordered = (found[id_] for id_ in ids)
        return [JobView(job, known[job.lambda_id], output) for job, output in ordered]

    def _wait(self, ids: Sequence[int], concerns: Concerns, timeout_s: float) -> Work[None]:
        """Return when ``concerns`` approved of a job's present or next state, or the time is over."""
        with self._notifier.watch.park(ids, concerns) as waiter:
            with self._database.read() as connection:
                states = jobs.find_states(connection, ids)
            _check_all_found(ids, states)
            approved = [concerns(id_, state) for id_, state in states.items()]
            if not any(approved):
                yield from waiter.wait(min(timeout_s, self._settings.wait_max_s))

    def list_page(self, which: JobFilter, *, before: int, limit: int) -> list[Job]:
        """Return jobs that fit and are older than ``before``, newest first."""
        with self._database.read() as connection:
            return jobs.list_jobs(connection, which, before=before, limit=limit)

    def search(self, which: JobFilter, spot: Spot | None, limit: int) -> Found:
        """Return a page of jobs that fit, newest first, from a spot on: looks at LOOKED_AT_MAX jobs at most."""
        with self._database.read() as connection:
            return searches.find_newest(connection, which, spot, limit)

    def count_states(self, which: JobFilter) -> dict[JobState, StateCount]:
        """Count the jobs that fit by state; of the newest few thousand alone where there are more."""
        with self._database.read() as connection:
            return searches.count_by_state(connection, which)

    def count(self, which: JobFilter) -> int:
        """Return how many jobs fit; no further than COUNTED_MAX."""
        with self._database.read() as connection:
            return jobs.count_jobs(connection, which, COUNTED_MAX)

    def show(self, found: Sequence[Job], *, with_output: bool = False) -> list[JobView]:
        """Return jobs with their lambdas and, if wanted, their outputs."""
        known = self._lambdas.get_many({job.lambda_id for job in found})
        outputs: dict[int, Blob] = {}
        if with_output:
            with self._database.read() as connection:
                outputs = blobs.find_blobs(connection, (job.output_id or 0 for job in found))
        return [JobView(job, known[job.lambda_id], outputs.get(job.output_id or 0)) for job in found]

    def trace(self, id_: int) -> list[Event]:
        """Return what happened to a job, oldest first. Raises JobNotFound."""
        with self._database.read() as connection:
            return tell_trail(require_job(connection, id_), events.list_events(connection, id_))

    def logs(self, id_: int) -> tuple[Job, list[Log]]:
        """Return a job and the logs that are kept of its attempts, oldest first. Raises JobNotFound."""
        with self._database.read() as connection:
            return require_job(connection, id_), logs.list_logs(connection, id_)

    def log_of(self, id_: int, attempt: int) -> tuple[Job, Log]:
        """Return a job and what is kept of one attempt's log. Raises JobNotFound, and InvalidParameter."""
        with self._database.read() as connection:
            job, log = require_job(connection, id_), logs.find_log(connection, id_, attempt)
        if not 1 <= attempt <= job.attempt:
            made = "one attempt" if job.attempt == 1 else f"{job.attempt} attempts"
            raise InvalidParameter(f"job {id_} has made {made} so far: attempt {attempt} is none of them")
        return job, log or Log(0, b"", attempt)

    def log(self, id_: int, offset: int, attempt: int | None, timeout_s: float) -> Work[tuple[Job, Log, int]]:
        """Return a job, its latest log and where to read on in it, once there is more or the job is final.

        ``offset`` is where a reader of ``attempt`` is (None: of whichever is the latest).
        Raises JobNotFound, CapacityReached or Stopping.
        """
        deadline = self._now_s() + min(timeout_s, self._settings.wait_max_s)
        while True:
            with self._notifier.watch.park([id_], lambda *_: True) as waiter:
                with self._database.read() as connection:
                    job = require_job(connection, id_)
                    log = logs.find_log(connection, id_) or Log(0, b"", job.attempt)
                start = offset if attempt in {None, log.attempt} else 0
                is_over = log.end > start or job.state.is_final
                if is_over or not (yield from waiter.wait(deadline - self._now_s())) or waiter.dismissed:
                    return job, log, min(max(start, log.start), log.end)

    def cancel(self, id_: int) -> Job:
        """Cancel a job. The agent that runs it stops the guest after its next heartbeat.

        Does nothing to a job that is final. Raises JobNotFound.
        """
        now = self._clock()

        def cancel(connection: Connection) -> tuple[Job, Changes]:
            changes = cancel_jobs(connection, self._endings, [id_], now)
            return require_job(connection, id_), changes

        job, changes = self._database.write(cancel)
        self._notifier.notify(changes)
        return job

    def find_details(self, view: JobView) -> Details:
        """Return what is told of a job beside its row."""
        with self._database.read() as connection:
            return find_details(connection, view.job, view.lambda_, self._settings.default_limits)

    def find_family(self, job: Job, parents: Sequence[int]) -> Family:
        """Return what a job waits, or waited, for, and jobs that do so for it: FAMILY_MAX of each at most."""
        with self._database.read() as connection:
            edges = [
                edge
                for state in get_args(EdgeState)
                for edge in dependencies.find_of_parent(connection, job.id, state, FAMILY_MAX)
            ]
            children = [edge.child_id for edge in edges] if job.awaited else []
            found = jobs.find_jobs(connection, [*parents[:FAMILY_MAX], *children[:FAMILY_MAX]])
        groups = [id_ for id_ in parents[:FAMILY_MAX] if id_ not in found]
        views = {view.job.id: view for view in self.show(list(found.values()))}
        return Family(
            [views[id_] for id_ in parents if id_ in views],
            groups,
            [views[id_] for id_ in children if id_ in views],
        )

    def find_wait(self, job: Job) -> Wait | None:
        """Say why a job waits; None when it does not."""
        with self._database.read() as connection:
            return find_wait(connection, job, self._clock(), self._settings)


def check_count(ids: Sequence[int]) -> None:
    """Raise InvalidRequest when a request names more jobs than one may."""
    if len(ids) > IDS_MAX:
        raise InvalidRequest(f"{len(ids)} ids in one request; at most {IDS_MAX} are taken")


def _check_all_found(ids: Iterable[int], found: Iterable[int]) -> None:
    missing = set(ids) - set(found)
    if missing:
        raise JobNotFound(f"there is no job {min(missing)}")


def require_job(connection: Connection, id_: int) -> Job:
    """Return a job. Raises JobNotFound."""
    job = jobs.find_job(connection, id_)
    if job is None:
        raise JobNotFound(f"there is no job {id_}")
    return job
