"""How many slots the queue could use: what autoscalers of agents go by."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from math import ceil
from typing import NamedTuple

from piecework.modules import BUILT_IN, suggest_runtime
from piecework.protocol.matching import RuntimeName, TagSet, offers_runtime
from piecework.protocol.names import LambdaRef
from piecework.server.errors import InvalidRequest
from piecework.server.services.core import Core
from piecework.server.services.queue.figures.depths import Depths, LambdaDepths
from piecework.server.services.queue.figures.statistics import Statistics
from piecework.server.services.queue.leasing.offers import expect_tags
from piecework.server.services.stock.keys import check_tenant
from piecework.server.services.stock.lambdas import Lambdas
from piecework.server.services.stock.workers import GONE_MS
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.leasing import holds, lanes
from piecework.server.store.queue.leasing.lanes import TOP
from piecework.server.store.records import Lambda, Lane, Worker
from piecework.server.store.stock import holding, lambdas, workers

GROUPS_MAX = 5000
"""Groups of enqueued jobs that are looked at for the oldest."""
RUNTIMES_MAX = 20
"""Runtimes that are told of one by one, those with the most jobs. All others are OTHER together."""
OTHER = "other"


class LaneJobs(NamedTuple):
    """What is to be done in a lane."""

    lane: Lane
    enqueued: int
    running: int
    oldest_at: int | None


class Slots(NamedTuple):
    """The slots of workers that take jobs."""

    total: int
    free: int


class SlotNeed(NamedTuple):
    """What is to be done, and who is there to do it."""

    enqueued: int
    running: int
    oldest_at: int | None
    """When the oldest of the enqueued was submitted."""
    slots: Slots
    wanted: int
    """Slots that could be of use."""
    run_s: float | None = None
    """How long jobs run on average, where that was asked for and is known."""
    counted_at: int | None = None
    """When what is enqueued was counted; None: right now."""


class Scale:
    """Tells how many slots the queue could use."""

    def __init__(
        self, core: Core, lambda_service: Lambdas, statistics: Statistics, depths: Depths, by_lambda: LambdaDepths
    ) -> None:
        self._database, self._clock, self._trusted = core.database, core.clock, core.settings.trusted
        self._lambdas, self._statistics = lambda_service, statistics
        self._depths, self._by_lambda = depths, by_lambda

    def read(
        self, lambda_: LambdaRef | None, runtime: str | None, tenant: str | None, within_s: float | None
    ) -> SlotNeed:
        """Tell of all jobs, or of those of a lambda, for a runtime, and of a tenant.

        Raises LambdaNotFound, and InvalidRequest for a runtime that nobody knows and for what is no tenant's name.
        """
        meant = None if lambda_ is None else self._lambdas.get_many(self._lambdas.list_meant(lambda_))
        ids = None if meant is None else list(meant)
        if tenant is not None:
            check_tenant(tenant)
        with self._database.read() as connection:
            if runtime is not None:
                _check_runtime(connection, runtime, self._clock())
        run_s = None if within_s is None else self._statistics.read_run_s(runtime, ids)
        found, counted_at = self._read_lanes(ids)
        found = [
            each
            for each in found
            if (runtime is None or offers_runtime([runtime], each.lane.runtime))
            and (tenant is None or each.lane.tenant == tenant)
        ]
        slots = self._count_slots(
            lambda worker: (
                (runtime is None or offers_runtime(worker.runtimes, runtime))
                and (meant is None or any(_may_run(worker, each, self._trusted) for each in meant.values()))
            )
        )
        need = _add_up(found, slots)
        wanted = count_wanted(need.enqueued + need.running, run_s, within_s)
        return need._replace(wanted=wanted, run_s=run_s, counted_at=counted_at)

    def read_by_runtime(self) -> dict[str, SlotNeed]:
        """Tell of each runtime that jobs need or workers offer, RUNTIMES_MAX at most, and of OTHER."""
        by_runtime: defaultdict[str, list[LaneJobs]] = defaultdict(list)
        for each in self._read_lanes(None)[0]:
            by_runtime[each.lane.runtime].append(each)
        with self._database.read() as connection:
            seen = workers.workers_seen_since(connection, self._clock() - GONE_MS)
        names = {*by_runtime, *(name for worker in seen for name in worker.runtimes)}
        busiest = sorted(names, key=lambda name: (-sum(each.enqueued for each in by_runtime[name]), name))
        told = {name: [name] for name in busiest[:RUNTIMES_MAX]}
        if others := busiest[RUNTIMES_MAX:]:
            told[OTHER] = others
        return {
            name: _add_up(
                [each for one in alike for each in by_runtime[one]], self._count_slots(_offers_one_of(alike), seen)
            )
            for name, alike in told.items()
        }

    def refresh(self) -> None:
        """Count a long queue by lambda anew when somebody asks for that."""
        self._by_lambda.refresh()

    def _read_lanes(self, ids: Sequence[int] | None) -> tuple[list[LaneJobs], int | None]:
        """Return what is to be done, of some lambdas or of all, and when it was counted; not what is paused."""
        if ids is None:
            depth = self._depths.read()
            enqueued, counted_at = dict(depth.enqueued), depth.counted_at
            with self._database.read() as connection:
                running = jobs.count_running_by_lane(connection)
                oldest = _find_oldest(connection)
        else:
            enqueued, oldest, running = {}, {}, {}
            counted, counted_at = self._by_lambda.read()
            for (lambda_id, lane_id), (count, oldest_at) in counted.items():
                if lambda_id in ids:
                    enqueued[lane_id] = enqueued.get(lane_id, 0) + count
                    oldest[lane_id] = min(oldest_at, oldest.get(lane_id, oldest_at))
            with self._database.read() as connection:
                for (lambda_id, lane_id), count in jobs.count_running_by_lambda(connection).items():
                    if lambda_id in ids:
                        running[lane_id] = running.get(lane_id, 0) + count
        with self._database.read() as connection:
            known, held = (
                lanes.find_lanes(connection, enqueued.keys() | running.keys()),
                holds.find_holds(connection),
            )
        found = []
        for lane in known:
            ready = 0 if held.keep_lane(lane) else enqueued.get(lane.id, 0)
            found.append(LaneJobs(lane, ready, running.get(lane.id, 0), oldest.get(lane.id) if ready else None))
        return found, counted_at

    def _count_slots(self, fits: Callable[[Worker], bool], seen: Sequence[Worker] | None = None) -> Slots:
        with self._database.read() as connection:
            if seen is None:
                seen = workers.workers_seen_since(connection, self._clock() - GONE_MS)
            held = holding.count_held_by_all(connection)
        taking = [each for each in seen if not each.draining and not each.trouble and fits(each)]
        free = sum(max(0, each.slots - held.get(each.id, 0)) for each in taking)
        return Slots(sum(each.slots for each in taking), free)


def count_wanted(count: int, run_s: float | None, within_s: float | None) -> int:
    """Return how many slots jobs could use: one each, or as many as do them all within a time."""
    if not count or run_s is None or within_s is None:
        return count
    return min(count, max(1, ceil(count * run_s / within_s)))


def _add_up(found: Iterable[LaneJobs], slots: Slots) -> SlotNeed:
    enqueued, running, times = 0, 0, list[int]()
    for each in found:
        enqueued += each.enqueued
        running += each.running
        if each.oldest_at is not None:
            times.append(each.oldest_at)
    return SlotNeed(enqueued, running, min(times, default=None), slots, enqueued + running)


def _find_oldest(connection: Connection) -> dict[int, int]:
    """Return when the oldest enqueued job of each lane was submitted."""
    groups = lanes.find_groups(connection, TOP, 0, GROUPS_MAX)
    heads = jobs.find_jobs(connection, [group.head for group in groups])
    oldest: dict[int, int] = {}
    for group in groups:
        if group.head in heads:
            at = heads[group.head].created_at
            oldest[group.lane.id] = min(at, oldest.get(group.lane.id, at))
    return oldest


def _check_runtime(connection: Connection, runtime: str, now: int) -> None:
    """Raise InvalidRequest for a runtime that is not built in, and that no job, lambda or worker has."""
    base = RuntimeName.parse(runtime).base
    if base in BUILT_IN or lanes.has_runtime(connection, runtime) or lambdas.has_runtime(connection, runtime):
        return
    offered = [name for each in workers.workers_seen_since(connection, now - GONE_MS) for name in each.runtimes]
    if offers_runtime(offered, runtime):
        return
    meant = suggest_runtime(base, {RuntimeName.parse(each).base for each in offered})
    hint = f": did you mean {meant}?" if meant else ""
    raise InvalidRequest(f"no lambda, job or worker has the runtime {runtime[:200]!r}{hint}")


def _may_run(worker: Worker, which: Lambda, trusted: Collection[str | None]) -> bool:
    tags = TagSet.parse(which.options.tags)
    return offers_runtime(worker.runtimes, which.runtime) and tags.admits(expect_tags(worker, trusted))


def _offers_one_of(names: Sequence[str]) -> Callable[[Worker], bool]:
    return lambda worker: any(offers_runtime(worker.runtimes, name) for name in names)
