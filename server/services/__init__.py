"""The use cases of the server, one transaction each, and the one place that puts them together."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from server.blobs import DirectoryStore
from server.services.access import Access
from server.services.contracts import Contracts
from server.services.data import Data
from server.services.jobs import Jobs
from server.services.lambdas import Lambdas
from server.services.outcomes import Outcomes
from server.services.timekeeper import Timekeeper
from server.services.waiting import JobWatch, Waiters
from server.services.workers import Workers
from server.settings import Settings
from server.store import servers
from server.store.database import Database, open_database
from server.store.ids import IdSource
from server.store.schema import check_schema, upgrade_schema
from server.errors import SchemaMismatch

log = structlog.get_logger("server")

Clock = Callable[[], int]
"""Milliseconds since 1970."""


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
    workers: Workers
    jobs: Jobs
    contracts: Contracts
    outcomes: Outcomes
    waiters: Waiters
    watch: JobWatch
    timekeeper: Timekeeper

    def start(self) -> None:
        """Start the thread that moves jobs on when their time comes."""
        self.timekeeper.start()

    def release_waiters(self) -> None:
        """Answer every request that waits, now, so that the server can stop."""
        self.waiters.close()
        self.watch.close()

    def close(self) -> None:
        self.release_waiters()
        self.timekeeper.stop()
        self.database.close()


def open_services(settings: Settings, clock: Clock = system_clock) -> Services:
    """Open the database and build the services over it.

    A new database, and an older one on SQLite, gets the program's schema. Raises SchemaMismatch when the database
    is newer than the program, or is an older PostgreSQL one that ``piecework server migrate`` must upgrade first.
    """
    settings.data.mkdir(parents=True, exist_ok=True)
    database = open_database(settings.url, synchronous=settings.synchronous)
    _prepare_schema(database)
    incarnation = secrets.token_hex(8)
    number = database.write(partial(servers.claim_number, incarnation=incarnation, now=clock()))
    with database.read() as connection:
        floor = servers.largest_id(connection)
    ids = IdSource(number, clock, floor)

    waiters, watch = Waiters(settings.waiters_max), JobWatch(settings.waiters_max)
    store = DirectoryStore(settings.data / "blobs", settings.blob_max_bytes)
    data = Data(database, store, ids, clock, settings)
    lambdas = Lambdas(database, data, ids, clock)
    workers = Workers(database, ids, clock, settings)
    timekeeper = Timekeeper(database, clock, settings, waiters, watch, partial(_keep_number, database, number, incarnation))
    outcomes = Outcomes(database, data, clock, settings, timekeeper)
    return Services(
        settings=settings,
        clock=clock,
        database=database,
        access=Access(database, clock, open_without_tokens=settings.is_loopback),
        data=data,
        lambdas=lambdas,
        workers=workers,
        jobs=Jobs(database, data, lambdas, ids, clock, settings, timekeeper),
        contracts=Contracts(database, workers, lambdas, outcomes, clock, settings, timekeeper),
        outcomes=outcomes,
        waiters=waiters,
        watch=watch,
        timekeeper=timekeeper,
    )
