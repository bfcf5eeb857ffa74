"""The use cases of the server, one transaction each, and the one place that puts them together."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from piecework.protocol.messages import StorageReply
from piecework.server.blobs import open_store
from piecework.server.services.core import REAL_SLEEP, Clock, Core, Sleeper
from piecework.server.services.free_pages import FreePages
from piecework.server.services.functions.calls import CallStatistics
from piecework.server.services.functions.deployments import Deployments
from piecework.server.services.functions.functions import Functions
from piecework.server.services.functions.health import Health, Prober
from piecework.server.services.functions.hosting import Hosting
from piecework.server.services.functions.overview import Overview
from piecework.server.services.functions.recorded_calls import CallRecords
from piecework.server.services.functions.routing import Routing
from piecework.server.services.functions.sources import Sources
from piecework.server.services.health.readiness import Readiness
from piecework.server.services.health.status import Status
from piecework.server.services.health.storage import describe_storage
from piecework.server.services.queue.assembly import QueueServices, wire_queue
from piecework.server.services.queue.schedules.timekeeper import Chore, Timekeeper
from piecework.server.services.queue.waiting.pauses import Places
from piecework.server.services.queue.waiting.waiting import JobWatch, Notifier, Waiters
from piecework.server.services.schema_at_start import note_standing, prepare_schema
from piecework.server.services.server_number import ServerNumber
from piecework.server.services.stock.audit import Audit
from piecework.server.services.stock.data import Data
from piecework.server.services.stock.entries import Entries
from piecework.server.services.stock.lambdas import Lambdas
from piecework.server.services.stock.leftovers import Leftovers
from piecework.server.services.stock.modules import Modules
from piecework.server.services.stock.namespaces import Namespaces
from piecework.server.services.stock.signing import Signing
from piecework.server.services.stock.workers import Workers
from piecework.server.services.sweeper import Sweep, Sweeper
from piecework.server.services.tokens.access import Access
from piecework.server.services.tokens.sessions import Sessions
from piecework.server.services.traces import Traces
from piecework.server.settings import Settings
from piecework.server.store.engine import servers
from piecework.server.store.engine.database import Database, open_database
from piecework.server.store.engine.ids import IdSource
from piecework.server.store.schema.standing import read_standing
from piecework.tracing import open_tracer

log = structlog.get_logger("server")


def system_clock() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class StockServices:
    """What is kept."""

    data: Data
    lambdas: Lambdas
    modules: Modules
    workers: Workers
    namespaces: Namespaces
    entries: Entries
    leftovers: Leftovers
    audit: Audit
    signing: Signing


@dataclass(frozen=True)
class FunctionServices:
    """Functions that are called over HTTP."""

    routing: Routing
    functions: Functions
    health: Health
    prober: Prober
    calls: CallStatistics
    hosting: Hosting
    deployments: Deployments
    overview: Overview
    records: CallRecords


@dataclass(frozen=True)
class Services(StockServices, QueueServices, FunctionServices):
    """Everything that the endpoints call."""

    settings: Settings
    clock: Clock
    database: Database
    number: ServerNumber
    access: Access
    places: Places
    readiness: Readiness
    timekeeper: Timekeeper
    sweeper: Sweeper
    status: Status
    traces: Traces
    describe_storage: Callable[[], StorageReply]
    """Tells what takes the disk."""

    @property
    def waiters(self) -> Waiters:
        """Contracts that wait for a job."""
        return self.notifier.waiters

    @property
    def watch(self) -> JobWatch:
        """Readers that wait for something to happen to jobs."""
        return self.notifier.watch

    def start(self) -> None:
        """Start the threads: those that move jobs on, clear up, tell webhooks, and look after URLs that failed."""
        self.timekeeper.start()
        self.sweeper.start()
        self.sender.start()
        self.prober.start()

    def release_waiters(self) -> None:
        """Answer every request that waits, now, so that the server can stop."""
        self.waiters.close()
        self.watch.close()
        self.feed.listeners.close()
        self.groups.close()

    def close(self) -> None:
        self.release_waiters()
        self.timekeeper.stop()
        self.sweeper.stop()
        self.sender.stop()
        self.prober.stop()
        self.audit.close()
        self.access.close()
        self.traces.close()
        self.number.release()
        self.database.close()


def open_services(settings: Settings, clock: Clock = system_clock, sleeper: Sleeper = REAL_SLEEP) -> Services:
    """Open the database and build the services over it.

    A new database, and an older one on SQLite, gets the program's schema; see ``prepare_schema``. Raises
    SchemaMismatch when the program cannot use the database.
    """
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = open_database(settings.url, synchronous=settings.synchronous)
    prepare_schema(database, settings.migrate)
    if database.is_pooled:
        log.info("there is a pooler before the database: no prepared statements, no word from other servers")
    number = ServerNumber(database, clock)
    note_standing(read_standing(database))  # whoever migrates knows of this server from here on, but not before
    with database.read() as connection:
        floor = servers.largest_id(connection)
    return _wire(Core(database, IdSource(number.number, clock, floor), clock, settings, sleeper), number)


def _wire(core: Core, number: ServerNumber) -> Services:
    """Give each service the ones that it calls."""
    places = Places(core.settings.waiters_max, core.sleeper)
    notifier = Notifier(core.database, Waiters(places), JobWatch(places))
    stock = _wire_stock(core, notifier)
    queue = wire_queue(core, stock.data, stock.lambdas, stock.signing, notifier)
    functions = _wire_functions(core, stock)
    readiness = Readiness(core.database, stock.data.store, core.settings.data, number.touch, time.monotonic)
    access = _open_access(core)
    looks = queue.statistics, functions.overview, queue.depths, queue.pace
    chores = [
        Chore("keep the server's number", 30, number.keep),
        Chore("look for dead hosts", 1, functions.hosting.look_around),
        Chore("look after dependants", 10, queue.dependants.look_after),
        Chore("check limits by key", 5, queue.limits.check_some),
        Chore("give numbers to events", 1, queue.feed.keep_up),
        Chore("look after groups", 10, queue.groups.look_after),
        Chore("learn what jobs cost", 2, queue.contracts.costs.learn),
        Chore("look after what caught owners gave", 1, queue.doubts.recheck),
        Chore("store refusals", 5, stock.audit.refusals.store),
        Chore("store uses of tokens", 5, access.store_uses),
        Chore("park and release held jobs", 0.5, queue.pauses.move_on),
    ]
    return Services(
        **vars(stock),
        **vars(queue),
        **vars(functions),
        settings=core.settings,
        clock=core.clock,
        database=core.database,
        number=number,
        access=access,
        places=places,
        readiness=readiness,
        traces=Traces(core.database, core.clock, open_tracer("piecework-server", core.settings.otel_endpoint)),
        status=Status(core, stock.data.store, readiness, stock.workers, *looks),
        timekeeper=Timekeeper(core, queue.endings, notifier, queue.ticking, chores, queue.rests),
        describe_storage=partial(describe_storage, core, stock.data.store, queue.retention),
        sweeper=Sweeper(
            [
                *_list_sweeps(stock, queue),
                Sweep("recorded calls", 60, functions.records.sweep),
                Sweep("tokens that expired long ago", 3600, access.forget),
                Sweep("free pages", 60, FreePages(core.database).step),
            ]
        ),
    )


def _open_access(core: Core) -> Access:
    return Access(
        core.database,
        core.clock,
        Sessions(core.database, core.settings.data),
        open_without_tokens=core.settings.is_loopback,
        kept_ms=core.settings.keep_ms("audit"),
    )


def _wire_stock(core: Core, notifier: Notifier) -> StockServices:
    data = Data(core, open_store(core.settings))
    return StockServices(
        data=data,
        lambdas=Lambdas(core, data),
        modules=Modules(core, data),
        workers=Workers(core, notifier.waiters.dismiss),
        namespaces=Namespaces(core),
        entries=Entries(core),
        leftovers=Leftovers(core, data),
        audit=Audit(core.database, core.clock, core.settings),
        signing=Signing(core),
    )


def _wire_functions(core: Core, stock: StockServices) -> FunctionServices:
    database, health = core.database, Health(time.monotonic)
    routing = Routing(database, core.clock, health, random.random)
    calls = CallStatistics(time.monotonic)
    hosting = Hosting(core, stock.lambdas, routing)
    sources = Sources(database, stock.data, stock.lambdas)
    return FunctionServices(
        routing=routing,
        functions=Functions(core, routing),
        health=health,
        prober=Prober(health),
        calls=calls,
        hosting=hosting,
        deployments=Deployments(core, stock.lambdas, sources, hosting, routing),
        overview=Overview(core, stock.lambdas, calls, health),
        records=CallRecords(core),
    )


def _list_sweeps(stock: StockServices, queue: QueueServices) -> list[Sweep]:
    """Return what is removed now and then."""
    return [
        Sweep("count a long queue", 1, queue.depths.refresh),
        Sweep("count it by lambda", 1, queue.scale.refresh),
        Sweep("jobs whose time is over", 1, queue.retention.step),
        Sweep("keys and values", 2, stock.namespaces.sweep),
        Sweep("old keys of submissions", 60, queue.submission.forget_old_keys),
        Sweep("what was done to many jobs", 60, queue.undoing.forget),
        Sweep("ticks of schedules", 60, queue.ticking.sweep),
        Sweep("files of blobs", 3600, stock.data.sweep),
        Sweep("old events", 60, queue.feed.forget),
        Sweep("who did what long ago", 60, stock.audit.forget),
        Sweep("old counters", 600, queue.statistics.forget),
        Sweep("uploads that nothing uses", 6 * 3600, stock.leftovers.sweep_uploads),
        Sweep("deleted lambdas", 60, stock.leftovers.sweep_lambdas),
        Sweep("empty groups", 600, queue.groups.sweep),
        Sweep("deliveries to webhooks", 60, queue.deliveries.sweep),
        Sweep("results for equal jobs", 60, queue.memos.sweep),
        Sweep("empty lanes", 600, stock.leftovers.sweep_lanes),
        Sweep("workers that are gone", 3600, stock.leftovers.sweep_workers),
    ]
