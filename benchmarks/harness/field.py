"""The field: every queue of the comparison, with what it stores its jobs in and how it is set up."""

import importlib
from dataclasses import dataclass

from harness.backends import Postgres, Redis
from harness.contestant import Contestant

SQLITE_FULL = "SQLite, synchronous=FULL: nothing acknowledged is lost"


@dataclass(frozen=True)
class Entry:
    """One contestant; its class is imported only where it runs, because its packages may be missing elsewhere."""

    place: str
    """``module:Class``."""
    backend: str
    """``redis``, ``postgres`` or ``sqlite``."""
    packages: tuple[str, ...]
    """Distributions whose versions are recorded."""
    setup: str
    """For readers: workers, batches, whatever is not the default."""
    durability: str
    """What a power cut takes."""

    def load(self) -> Contestant:
        """Import and make the contestant. Raises ImportError when its packages are not installed."""
        module, _, name = self.place.partition(":")
        contestant: Contestant = getattr(importlib.import_module(module), name)()
        return contestant


FIELD = {
    "piecework": Entry(
        "peers.piecework:OneAgent",
        "sqlite",
        ("piecework", "wasmtime"),
        "each job in its own WASI sandbox; 1 agent with 2 slots; the client's calls for many jobs, and for one",
        SQLITE_FULL,
    ),
    "piecework-2x1": Entry(
        "peers.piecework:TwoAgents",
        "sqlite",
        ("piecework", "wasmtime"),
        "the same with 2 agents with 1 slot each, as on two nodes",
        SQLITE_FULL,
    ),
    "piecework-called": Entry(
        "peers.piecework:Called",
        "sqlite",
        ("piecework", "wasmtime"),
        "as the first, with functions of FunLess, which are called and not started; 10 ms jobs as above",
        SQLITE_FULL,
    ),
    "piecework-postgres": Entry(
        "peers.piecework:OnPostgres",
        "postgres",
        ("piecework", "wasmtime"),
        "2 servers on one PostgreSQL, an agent with 1 slot at each; submits at one, reads at the other",
        Postgres.durability,
    ),
    "piecework-v05": Entry(
        "peers.piecework_v05:Piecework",
        "sqlite",
        ("piecework",),
        "v0.5 clients: 7 requests to run a job, 2 more to read its result; 2 workers in plain Python, no sandbox",
        SQLITE_FULL,
    ),
    "pgqueuer": Entry(
        "peers.pgqueuer:PgQueuer",
        "postgres",
        ("pgqueuer", "asyncpg"),
        "2 x pgq run --batch-size 100, list enqueue; no result store: INSERT by the job",
        Postgres.durability,
    ),
    "procrastinate": Entry(
        "peers.procrastinate:Procrastinate",
        "postgres",
        ("procrastinate", "psycopg"),
        "2 x worker -c 10, batch_defer; no result store: INSERT by the job",
        Postgres.durability,
    ),
    "dramatiq": Entry(
        "peers.dramatiq:Dramatiq", "redis", ("dramatiq", "redis"), "-p 2 -t 8, group()", Redis.durability
    ),
    "huey-redis": Entry(
        "peers.huey_redis:HueyRedis",
        "redis",
        ("huey", "redis"),
        "-w 2 -k process, notify_result, map()",
        Redis.durability,
    ),
    "huey-sqlite": Entry(
        "peers.huey_sqlite:HueySqlite",
        "sqlite",
        ("huey",),
        "-w 2 -k process -d 0.005 -m 0.05 (polls every 5 to 50 ms), map()",
        SQLITE_FULL,
    ),
    "celery": Entry(
        "peers.celery:Celery",
        "redis",
        ("celery", "kombu", "redis"),
        "prefork -c 2, prefetch multiplier 64, no events, gossip, mingle or heartbeat; group()",
        Redis.durability,
    ),
    "rq": Entry(
        "peers.rq:Rq",
        "redis",
        ("rq", "redis"),
        "2 x worker -w SimpleWorker (no fork), enqueue_many",
        Redis.durability,
    ),
    "saq": Entry(
        "peers.saq:Saq",
        "redis",
        ("saq", "redis"),
        "--workers 2, concurrency 10, gathered enqueue, jobs() asked every 10 ms",
        Redis.durability,
    ),
    "taskiq": Entry(
        "peers.taskiq:Taskiq",
        "redis",
        ("taskiq", "taskiq-redis", "redis"),
        "-w 2, RedisStreamBroker, gathered kiq",
        Redis.durability,
    ),
}
"""By the names that tables and ``--only`` use."""
