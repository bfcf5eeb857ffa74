"""How this server stands, in one reading: figures, and what a look at everything finds."""

from collections import Counter
from dataclasses import dataclass
from os import statvfs

from msgspec import UNSET

from piecework import __version__
from piecework.protocol.ids import ID_MAX
from piecework.protocol.messages import Finding, LaneBrief, StatusReply
from piecework.receipts.keys import KEY_FILE
from piecework.server.blobs import BlobStore, has_files
from piecework.server.errors import BlobsAway, ServerError
from piecework.server.services.core import Core
from piecework.server.services.functions.overview import Overview
from piecework.server.services.health import findings
from piecework.server.services.health.readiness import Readiness
from piecework.server.services.health.storage import measure
from piecework.server.services.queue.figures.depths import Depth, Depths
from piecework.server.services.queue.figures.statistics import LambdaFigures, Statistics, write_figures
from piecework.server.services.queue.leasing.pace import UsualTimes
from piecework.server.services.queue.reading.waits import Wait, find_wait
from piecework.server.services.stock.workers import Workers
from piecework.server.store.engine import servers
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.leasing import holds, lanes
from piecework.server.store.queue.leasing.lanes import TOP, Group
from piecework.server.store.queue.schedules import schedules
from piecework.server.store.queue.trust import memos
from piecework.server.store.queue.webhooks import webhooks
from piecework.server.store.records import Job, Lane, Worker
from piecework.server.store.stock import audit

LANES_MAX = 50
GROUPS_MAX = 200
"""Groups of enqueued jobs that are looked at one by one."""
WORKERS_MAX = 1000
BACKUP = "backup"


@dataclass(frozen=True)
class Queued:
    """The jobs of one lane."""

    lane: Lane
    enqueued: int
    running: int
    head: Job | None
    """The oldest that is enqueued, of those of the highest priority."""
    wait: Wait | None
    """Why that is not given to a worker."""


class Status:
    """Looks at everything."""

    def __init__(
        self,
        core: Core,
        store: BlobStore,
        readiness: Readiness,
        workers: Workers,
        statistics: Statistics,
        overview: Overview,
        depths: Depths,
        pace: UsualTimes,
    ) -> None:
        self._store = store
        self._core, self._database, self._clock = core, core.database, core.clock
        self._readiness = readiness
        self._workers = workers
        self._statistics = statistics
        self._overview = overview
        self._depths = depths
        self._pace = pace

    def read(self, *, everything: bool = False) -> StatusReply:
        """Return how the server stands; ``everything``: with what is well, too.

        Raises DatabaseAway when the database cannot be read.
        """
        hour = self._statistics.read("hour", most=200)
        known = self._workers.list_page(before=ID_MAX, limit=WORKERS_MAX)
        depth = self._depths.read()
        with self._database.read() as connection:
            queued = self._read_lanes(connection, depth)
            others = servers.count_servers(connection, self._clock())
            backup_at = audit.find_last(connection, BACKUP)
            size = measure(connection, is_shared=self._database.is_shared)[0]
        found = [*self._look(queued, known, hour.lambdas, backup_at), findings.look_at_losses(hour.total)]
        found = sorted(found, key=lambda each: ("wrong", "notice", "ok").index(each.level))
        heads = [each.head.created_at for each in queued if each.head]
        return StatusReply(
            version=__version__,
            at=hour.now_s,
            summary=findings.sum_up(found),
            is_well=not any(each.level == "wrong" for each in found),
            findings=[each for each in found if everything or each.level != "ok"],
            waiting=depth.waiting,
            counted_at=UNSET if depth.counted_at is None else depth.counted_at / 1000,
            enqueued=sum(each.enqueued for each in queued),
            running=sum(each.running for each in queued),
            stragglers=len(self._pace.list_stragglers()),
            oldest_at=min(heads) / 1000 if heads else UNSET,
            lanes=[_write_lane(each) for each in queued[:LANES_MAX]],
            workers=dict(Counter(str(self._workers.state_of(each)) for each in known)),
            servers=others,
            database_bytes=size,
            disk_free_bytes=self._find_free(),
            backup_at=UNSET if backup_at is None else backup_at / 1000,
            hour=write_figures(hour.total),
        )

    def _read_lanes(self, connection: Connection, depth: Depth) -> list[Queued]:
        """Return what is enqueued or runs, the fullest lanes first."""
        running = jobs.count_running_by_lane(connection)
        known = lanes.find_lanes(connection, depth.enqueued.keys() | running.keys())
        groups: dict[int, Group] = {}
        for group in lanes.find_groups(connection, TOP, 0, GROUPS_MAX):
            groups.setdefault(group.lane.id, group)
        heads = jobs.find_jobs(connection, [group.head for group in groups.values()])
        queued = []
        for lane in known:
            head = heads.get(groups[lane.id].head) if lane.id in groups else None
            wait = find_wait(connection, head, self._clock(), self._core.settings) if head else None
            counts = depth.enqueued.get(lane.id, 0), running.get(lane.id, 0)
            queued.append(Queued(lane, *counts, head, wait))
        return sorted(queued, key=lambda each: (-each.enqueued, -each.running, each.lane.id))

    def _look(
        self, queued: list[Queued], known: list[Worker], hour: list[LambdaFigures], backup_at: int | None
    ) -> list[Finding]:
        now, settings = self._clock(), self._core.settings
        states = {worker.id: self._workers.state_of(worker) for worker in known}
        with self._database.read() as connection:
            paused = holds.list_holds(connection)
            ticking = schedules.list_schedules(connection, before=ID_MAX, limit=1000)
            told = webhooks.list_webhooks(connection, before=ID_MAX, limit=1000)
            stops = memos.list_stops(connection, 1)
        return [
            self._look_at_database(),
            findings.look_at_disk(settings.data, self._find_free()),
            findings.look_at_files(settings),
            findings.look_at_key(settings.data / KEY_FILE),
            *findings.look_at_settings(settings),
            findings.look_at_blobs(settings, self._store, has_files=has_files(settings)),
            *findings.look_at_workers(known, states, now),
            *findings.look_at_queue([(each.lane, each.enqueued, each.head, each.wait) for each in queued], now),
            findings.look_at_stragglers(self._pace.list_stragglers()),
            *findings.look_at_failures(hour),
            findings.look_at_holds([each for each in paused if each.released_at is None]),
            findings.look_at_schedules(ticking),
            findings.look_at_webhooks(told),
            findings.look_at_memos(stops),
            findings.look_at_functions(self._overview.of_all()),
            findings.look_at_backup(backup_at, now, is_shared=self._database.is_shared),
        ]

    def _look_at_database(self) -> Finding:
        try:
            self._readiness.check()
        except ServerError as error:
            check = "blobs" if isinstance(error, BlobsAway) else "database"
            return Finding(check=check, level="wrong", text=str(error), advice="see the server's log")
        return Finding(check="database", level="ok", text="it answers and takes writes")

    def _find_free(self) -> int:
        disk = statvfs(self._core.settings.data)
        return disk.f_bavail * disk.f_frsize


def _write_lane(queued: Queued) -> LaneBrief:
    lane, head = queued.lane, queued.head
    tags = [*(f"+{tag}" for tag in sorted(lane.necessary)), *(f"-{tag}" for tag in sorted(lane.rejected))]
    return LaneBrief(
        runtime=lane.runtime,
        tags=tags,
        tenant=lane.tenant or UNSET,
        enqueued=queued.enqueued,
        running=queued.running,
        oldest_at=head.created_at / 1000 if head else UNSET,
        waits=queued.wait.text if queued.wait else UNSET,
    )
