"""Why a job waits: one place decides, for everyone who asks."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from piecework.modules import suggest_runtime
from piecework.protocol.matching import RuntimeName, offers_runtime
from piecework.protocol.messages import WaitReason
from piecework.protocol.states import JobState
from server.services.queue.claims import admits
from server.services.stock.workers import GONE_MS
from server.store.engine.database import Connection
from server.store.queue import jobs, lanes
from server.store.records import Job, Lane, Worker
from server.store.stock import holding, workers

TROUBLES_MAX = 3
"""Workers whose troubles one reason tells."""
AHEAD_MAX = 10_000
"""Jobs ahead of another are counted up to here."""


class Wait(NamedTuple):
    """Why a job does not run now."""

    reason: WaitReason
    text: str
    """For people."""


def find_wait(connection: Connection, job: Job, now: int) -> Wait | None:
    """Say why a job waits; None when it does not, or will be given to a worker any moment."""
    if job.state is JobState.PAUSED:
        return Wait(WaitReason.PAUSED, "it is paused, and someone must resume it")
    if job.state is JobState.WAITING:
        return _describe_time(job)
    if job.state is not JobState.ENQUEUED:
        return None
    return _find_lack(connection, job, now)


def _find_lack(connection: Connection, job: Job, now: int) -> Wait | None:
    """Say which workers an enqueued job waits for."""
    [lane] = lanes.find_lanes(connection, [job.lane_id])
    seen = workers.workers_seen_since(connection, now - GONE_MS)
    fitting = [worker for worker in seen if _may_run(worker, lane)]
    if not fitting:
        return Wait(WaitReason.NO_WORKER, _describe_lack(lane, seen))
    if troubles := _describe_troubles(fitting):
        return Wait(WaitReason.UNABLE, troubles)
    taking = [worker for worker in fitting if not worker.draining and not worker.trouble]
    if not taking:
        return Wait(WaitReason.DRAINING, "every worker that could run it drains and takes no more jobs")
    return _describe_queue(_count_ahead(connection, job, taking), taking, holding.count_held_by_all(connection))


def _may_run(worker: Worker, lane: Lane) -> bool:
    return admits(lane, worker.runtimes, frozenset(worker.tags))


def _describe_troubles(fitting: Sequence[Worker]) -> str | None:
    """Say why none of the workers that may run a job takes any for a fault of its node; None when one could."""
    troubles = [f"{worker.name}: {worker.trouble}" for worker in fitting if worker.trouble]
    if len(troubles) < len(fitting):
        return None
    return f"every worker that could run it takes no jobs now; {'; '.join(troubles[:TROUBLES_MAX])}"


def _describe_time(job: Job) -> Wait:
    due = datetime.fromtimestamp((job.due_at or 0) / 1000, UTC).isoformat(timespec="seconds")
    if job.error is None:
        return Wait(WaitReason.DUE, f"it is due at {due}")
    tries, why = (
        f"{job.attempt + 1} of {job.max_attempts + job.vanished}",
        f"{job.error.kind}: {job.error.message}",
    )
    return Wait(WaitReason.RETRY, f"attempt {tries} is due at {due}; the last one failed, {why}")


def _describe_lack(lane: Lane, seen: Sequence[Worker]) -> str:
    """Say what no worker has that a job of this lane needs."""
    wanted = [f"+{tag}" for tag in sorted(lane.necessary)] + [f"-{tag}" for tag in sorted(lane.rejected)]
    tags = " ".join(wanted)
    if not seen:
        return "no worker was heard of lately: 'piecework worker run' starts one"
    if tags and any(offers_runtime(worker.runtimes, lane.runtime) for worker in seen):
        return f"no worker that offers the runtime {lane.runtime} goes with the tags {tags}"
    lacking = _find_lacking(lane.runtime, (offer for worker in seen for offer in worker.runtimes))
    with_tags = f" with tags {tags}" if tags else ""
    return f"no worker that was heard of lately offers the runtime {lane.runtime}{with_tags}{lacking}"


def _find_lacking(wanted: str, offered: Iterable[str]) -> str:
    """Say which features workers lack that offer a runtime's base, or which runtime may be meant; or nothing."""
    need, offers = RuntimeName.parse(wanted), [RuntimeName.parse(offer) for offer in offered]
    have = [offer.features for offer in offers if offer.base == need.base]
    meant = "" if have else suggest_runtime(need.base, {offer.base for offer in offers})
    if meant not in {"", need.base}:
        return f"; did you mean {meant}?"
    lacking = min((need.features - features for features in have), key=len, default=frozenset())
    return f"; of those with {need.base}, the nearest lacks {', '.join(sorted(lacking))}" if lacking else ""


def _count_ahead(connection: Connection, job: Job, taking: Sequence[Worker]) -> int:
    """Return how many jobs come before one, of those that its workers may run; AHEAD_MAX for more."""
    ahead = 0
    for lane in lanes.lanes_with_jobs(connection):
        if any(_may_run(worker, lane) for worker in taking):
            ahead += jobs.count_ahead(connection, lane.id, job.priority, job.id, AHEAD_MAX)
    return min(ahead, AHEAD_MAX)


def _describe_queue(ahead: int, taking: Sequence[Worker], held: Mapping[int, int]) -> Wait | None:
    if any(held.get(worker.id, 0) < worker.slots for worker in taking):
        return Wait(WaitReason.QUEUED, f"{_describe_ahead(ahead)} ahead of it") if ahead else None
    slots = sum(worker.slots for worker in taking)
    who = "the worker that may run it is" if len(taking) == 1 else f"all {len(taking)} workers that may run it are"
    behind = f", and {_describe_ahead(ahead)} ahead of it" if ahead else ""
    return Wait(WaitReason.BUSY, f"{who} busy ({slots} {'slot' if slots == 1 else 'slots'}){behind}")


def _describe_ahead(count: int) -> str:
    if count == AHEAD_MAX:
        return f"{count:,} jobs or more are"
    return "1 job is" if count == 1 else f"{count:,} jobs are"
