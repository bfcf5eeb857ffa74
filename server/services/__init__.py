"""The use cases of the server, one transaction each, and the one place that puts them together."""

import random
import secrets
import time
from dataclasses import dataclass
from functools import partial

import structlog

from server.blobs import open_store
from server.errors import SchemaMismatch
from server.services.access import Access
from server.services.core import Clock, Core
from server.services.functions.calls import CallStatistics
from server.services.functions.deployments import Deployments
from server.services.functions.functions import Functions
from server.services.functions.health import Health, Prober
from server.services.functions.hosting import Hosting
from server.services.functions.overview import Overview
from server.services.functions.routing import Routing
from server.services.functions.sources import Sources
from server.services.queue.contracts import Contracts
from server.services.queue.jobs import Jobs
from server.services.queue.outcomes import Outcomes
from server.services.queue.steering import Steering
from server.services.queue.submission import Submission
from server.services.queue.timekeeper import Chore, Timekeeper
from server.services.queue.unfenced import Unfenced
from server.services.queue.waiting import JobWatch, Notifier, Places, Waiters
from server.services.readiness import Readiness
from server.services.stock.data import Data
from server.services.stock.entries import Entries
from server.services.stock.lambdas import Lambdas
from server.services.stock.modules import Modules
from server.services.stock.namespaces import Namespaces
from server.services.stock.workers import Workers
from server.settings import Settings
from server.store.engine import servers
from server.store.engine.database import Database, open_database
from server.store.engine.ids import IdSource
from server.store.engine.schema import compare_revisions, upgrade_schema

log = structlog.get_logger("server")


def system_clock() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Services:
    """Everything that the endpoints call."""

    settings: Settings
    clock: Clock
    database: Database
    access: Access
    data: Data
    lambdas: Lambdas
    modules: Modules
    workers: Workers
    namespaces: Namespaces
    entries: Entries
    submission: Submission
    jobs: Jobs
    steering: Steering
    unfenced: Unfenced
    contracts: Contracts
    outcomes: Outcomes
    routing: Routing
    functions: Functions
    health: Health
    prober: Prober
    calls: CallStatistics
    hosting: Hosting
    deployments: Deployments
    overview: Overview
    places: Places
    readiness: Readiness
    waiters: Waiters
    watch: JobWatch
    timekeeper: Timekeeper

    def start(self) -> None:
        """Start the threads that move jobs on when their time comes, and look after URLs that failed."""
        self.timekeeper.start()
        self.prober.start()

    def release_waiters(self) -> None:
        """Answer every request that waits, now, so that the server can stop."""
        self.waiters.close()
        self.watch.close()

    def close(self) -> None:
        self.release_waiters()
        self.timekeeper.stop()
        self.prober.stop()
        self.database.close()


def open_services(settings: Settings, clock: Clock = system_clock) -> Services:
    """Open the database and build the services over it.

    A new database, and an older one on SQLite, gets the program's schema. Raises SchemaMismatch when the database
    is newer than the program, or is an older PostgreSQL one that ``piecework server migrate`` must upgrade first.
    """
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = open_database(settings.url, synchronous=settings.synchronous)
    prepare_schema(database)
    if database.is_pooled:
        log.info("there is a pooler before the database: no prepared statements, no word from other servers")
    number = _ServerNumber(database, clock)
    with database.read() as connection:
        floor = servers.largest_id(connection)
    return _wire(Core(database, IdSource(number.number, clock, floor), clock, settings), number)


def _wire(core: Core, number: "_ServerNumber") -> Services:
    """Give each service the ones that it calls."""
    database, clock, settings = core.database, core.clock, core.settings
    places = Places(settings.waiters_max)
    waiters, watch = Waiters(places), JobWatch(places)
    notifier = Notifier(database, waiters, watch)
    data = Data(core, open_store(settings))
    lambdas = Lambdas(core, data)
    outcomes = Outcomes(core, data, lambdas, notifier)
    jobs = Jobs(core, data, lambdas, notifier)
    submission = Submission(core, data, lambdas, notifier)
    health = Health(time.monotonic)
    routing = Routing(database, clock, health, random.random)
    calls = CallStatistics(time.monotonic)
    hosting = Hosting(core, lambdas, routing)
    sources = Sources(database, data, lambdas)
    namespaces = Namespaces(core)
    chores = _list_chores(number, data, submission, hosting, namespaces)
    return Services(
        settings=settings,
        clock=clock,
        database=database,
        access=Access(database, clock, open_without_tokens=settings.is_loopback),
        data=data,
        lambdas=lambdas,
        modules=Modules(core, data),
        workers=Workers(core, waiters.dismiss),
        namespaces=namespaces,
        entries=Entries(core),
        submission=submission,
        jobs=jobs,
        steering=Steering(core, notifier),
        unfenced=Unfenced(core),
        contracts=Contracts(core, outcomes, notifier),
        outcomes=outcomes,
        routing=routing,
        functions=Functions(core, routing),
        health=health,
        calls=calls,
        hosting=hosting,
        deployments=Deployments(core, lambdas, sources, hosting, routing),
        overview=Overview(core, lambdas, calls, health),
        prober=Prober(health),
        places=places,
        readiness=Readiness(database, data.store, settings.data, number.touch, time.monotonic),
        waiters=waiters,
        watch=watch,
        timekeeper=Timekeeper(core, notifier, chores),
    )


def _list_chores(
    number: "_ServerNumber", data: Data, submission: Submission, hosting: Hosting, namespaces: Namespaces
) -> list[Chore]:
    """Return what the timekeeper does now and then."""
    return [
        Chore("keep the server's number", 30, number.keep),
        Chore("sweep blobs", 3600, data.sweep),
        Chore("forget old keys", 3600, submission.forget_old_keys),
        Chore("look for dead hosts", 1, hosting.look_around),
        Chore("sweep keys and values", 2, namespaces.sweep),
    ]


def prepare_schema(database: Database) -> None:
    """Give the database the program's schema where that is safe; see ``open_services``."""
    before, head = compare_revisions(database.engine)
    if before == head:
        return
    if database.is_shared and before is not None:
        raise SchemaMismatch(
            "the database has an older schema: stop its servers and run `piecework server migrate`"
        )
    upgrade_schema(database.engine)


class _ServerNumber:
    """This server's number among those that share the database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._incarnation = secrets.token_hex(8)
        claim = partial(
            servers.claim_number, incarnation=self._incarnation, now=clock(), alone=not database.is_shared
        )
        self.number = database.write(claim)

    def keep(self) -> None:
        """Show the other servers that the number is in use."""
        if self._database.is_shared and not self.touch():
            log.error("another server took this server's number; restart this one", number=self.number)

    def touch(self) -> bool:
        """Write that it was in use now. Returns False when another server has it."""
        touch = partial(servers.touch_number, number=self.number, incarnation=self._incarnation, now=self._clock())
        return self._database.write(touch)
