"""Why a job waits: one place decides, for everyone who asks."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from piecework.modules import suggest_runtime
from piecework.protocol.ids import ID_MAX
from piecework.protocol.matching import OWNER_TAG, TRUSTED_TAG, WORKER_TAG, RuntimeName, offers_runtime
from piecework.protocol.messages import WaitReason
from piecework.protocol.states import FINAL_STATES, JobState
from piecework.server.services.queue.leasing.claims import GROUPS_MAX, admits
from piecework.server.services.queue.leasing.offers import expect_tags
from piecework.server.services.queue.limits.limitwaits import describe_limits
from piecework.server.services.stock.workers import GONE_MS
from piecework.server.settings import Settings
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.dependencies import dependencies, groups
from piecework.server.store.queue.dependencies.relations import Settling
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.leasing import holds, lanes
from piecework.server.store.queue.leasing.lanes import TOP
from piecework.server.store.records import Job, Lane, Worker
from piecework.server.store.stock import holding, workers

IDLE_MS = 30_000
"""A worker that could take a replay for longer, and does not, does not know of replays."""
TROUBLES_MAX = 3
"""Workers whose troubles one reason tells."""
OWNERS_MAX = 7
"""Owners that one reason names."""
PARENTS_MAX = 3
"""Jobs that one reason names of those that another waits for."""
AHEAD_MAX = 10_000
"""Jobs ahead of another are counted up to here."""


class Wait(NamedTuple):
    """Why a job does not run now."""

    reason: WaitReason
    text: str
    """For people."""


def find_wait(connection: Connection, job: Job, now: int, settings: Settings) -> Wait | None:
    """Say why a job waits; None when it does not, or will be given to a worker any moment."""
    if job.state is JobState.PAUSED and job.waits != "hold":
        return Wait(WaitReason.PAUSED, "it is paused, and someone must resume it")
    if job.state in {JobState.PAUSED, JobState.ENQUEUED} and (held := _find_hold(connection, job)):
        return held
    if job.state is JobState.WAITING:
        return _describe_wait(connection, job, now)
    if job.state is not JobState.ENQUEUED:
        return None
    lack, limited = _find_lack(connection, job, now, settings), describe_limits(connection, job, now)
    is_it = limited and (lack is None or not lack.reason.is_hopeless)
    return Wait(WaitReason.LIMIT, limited) if limited and is_it else lack


def _describe_wait(connection: Connection, job: Job, now: int) -> Wait | None:
    """Say what a waiting job waits for: others, room under a limit, or a time."""
    if job.waits == "after":
        return _describe_parents(connection, job)
    if job.waits is None:
        return _describe_time(job)
    limited = describe_limits(connection, job, now)
    return Wait(WaitReason.LIMIT, limited) if limited else None


def _find_hold(connection: Connection, job: Job) -> Wait | None:
    """Say what of a job's is paused as a whole."""
    [lane] = lanes.find_lanes(connection, [job.lane_id])
    hold = holds.find_holds(connection).find(job, lane)
    if hold is None:
        return (
            None
            if job.state is JobState.ENQUEUED
            else Wait(WaitReason.HELD, "it is let into the queue in a moment")
        )
    since = datetime.fromtimestamp(hold.held_at / 1000, UTC).isoformat(timespec="seconds")
    who = "" if hold.held_by is None else f" by {hold.held_by}"
    return Wait(WaitReason.HELD, f"{hold.describe()} is paused since {since}{who}{hold.note and f': {hold.note}'}")


def _find_lack(connection: Connection, job: Job, now: int, settings: Settings) -> Wait | None:
    """Say which workers an enqueued job waits for."""
    [lane] = lanes.find_lanes(connection, [job.lane_id])
    seen = [
        worker._replace(tags=tuple(expect_tags(worker, settings.trusted)))
        for worker in workers.workers_seen_since(connection, now - GONE_MS)
    ]
    fitting = [worker for worker in seen if _may_run(worker, lane)]
    if not fitting:
        return Wait(
            WaitReason.NO_WORKER,
            _describe_absence(connection, lane) or _describe_owners(lane, seen) or _describe_lack(lane, seen),
        )
    if troubles := _describe_troubles(fitting):
        return Wait(WaitReason.UNABLE, troubles)
    taking = [worker for worker in fitting if not worker.draining and not worker.trouble]
    if not taking:
        return Wait(WaitReason.DRAINING, "every worker that could run it drains and takes no more jobs")
    ahead = _count_ahead(connection, job, lane, taking)
    queue = _describe_queue(ahead, taking, holding.count_held_by_all(connection))
    if queue is None and job.options.replays and now - job.created_at > IDLE_MS:
        return Wait(
            WaitReason.NO_WORKER, f"worker {taking[0].name} is idle and does not take it: its agent is too old"
        )
    return queue


def _describe_parents(connection: Connection, job: Job) -> Wait:
    """Say which others a job waits for."""
    edges = dependencies.find_open(connection, job.id, PARENTS_MAX)
    states = dependencies.find_ends(connection, (edge.parent_id for edge in edges))
    parts = [_describe_parent(connection, end) for _, end in sorted(states.items())]
    count = max(job.pending or 0, len(edges))
    more = "" if count <= len(parts) else f", and {count - len(parts):,} more"
    return Wait(WaitReason.AFTER, f"it waits for {'; '.join(parts)}{more}")


def _describe_parent(connection: Connection, end: Settling) -> str:
    group = groups.find_group(connection, end.parent_id)
    if group is None:
        return f"job {end.parent_id}, which is {end.state}"
    called = f"group {group.name or group.id}"
    if group.sealed_at is None:
        return f"{called}, which is open: 'piecework group seal' closes it"
    left = sum(
        count for state, count in groups.count_members(connection, group.id).items() if state not in FINAL_STATES
    )
    return f"{called}, which has {left:,} {'job' if left == 1 else 'jobs'} left"


def _may_run(worker: Worker, lane: Lane) -> bool:
    return admits(lane, worker.runtimes, frozenset(worker.tags))


def _describe_absence(connection: Connection, lane: Lane) -> str | None:
    """Say what became of the one worker that jobs of this lane are for; None when they are for others, too."""
    for tag in lane.necessary:
        id_ = tag.removeprefix(WORKER_TAG)
        if id_ == tag or not id_.isdecimal():
            continue
        worker = workers.find_worker(connection, int(id_)) if int(id_) <= ID_MAX else None
        if worker is None or worker.retired_at is not None:
            return f"it is for worker {id_} alone, which is not in service"
        how = "was not heard of for over a minute" if worker.stopped_at is None else "has stopped"
        return f"it is for worker {worker.name} ({id_}) alone, which {how}"
    return None


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


def _describe_owners(lane: Lane, seen: Sequence[Worker]) -> str | None:
    """Say that workers lack only owners whose word counts; None when they lack more."""
    rejected = {tag for tag in lane.rejected if tag.startswith(OWNER_TAG)}
    open_lane = lane._replace(rejected=lane.rejected - rejected, necessary=lane.necessary - {TRUSTED_TAG})
    if open_lane == lane or not any(_may_run(worker, open_lane) for worker in seen):
        return None
    if TRUSTED_TAG in lane.necessary:
        return "no worker of a trusted owner was heard of lately, and only that decides where others do not agree"
    names = ", ".join(sorted(tag.removeprefix(OWNER_TAG) for tag in rejected)[:OWNERS_MAX])
    return f"others must agree on its result, and no worker of another owner than {names} was heard of lately"


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


def _count_ahead(connection: Connection, job: Job, lane: Lane, taking: Sequence[Worker]) -> int:
    """Return about how many jobs come before one, of those that its workers may run; AHEAD_MAX for more.

    Of each other tenant's of its priority, those go before it that have their turns until its own tenant's earlier
    jobs had theirs.
    """
    higher = mine = 0
    weight, others = 1, Counter[tuple[str, int]]()
    for group in lanes.find_groups(connection, TOP, 0, GROUPS_MAX):
        if group.priority < job.priority:
            break
        if not any(_may_run(worker, group.lane) for worker in taking):
            continue
        is_mine = group.priority == job.priority and group.lane.tenant == lane.tenant
        before = job.id if is_mine else ID_MAX
        count = jobs.count_enqueued(connection, group.priority, group.lane.id, before, AHEAD_MAX)
        if is_mine:
            mine, weight = mine + count, group.weight
        elif group.priority == job.priority:
            others[group.lane.tenant, group.weight] += count
        else:
            higher += count
    turns = mine // weight + 1
    return min(higher + mine + sum(min(count, turns * each) for (_, each), count in others.items()), AHEAD_MAX)


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
