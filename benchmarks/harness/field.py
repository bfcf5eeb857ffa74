"""The field: every queue of the comparison, with what it stores its jobs in and how it is set up."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass

from harness.backends import MissingError, Postgres, Redis, find_node
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
    needs_node: bool = False
    """It is a queue of Node.js, which few machines have: it runs when it is asked for."""

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
    "bullmq": Entry(
        "peers.node_queues:BullMq",
        "redis",
        (),
        "2 x Worker, concurrency 100, addBulk; asks every 5 ms how many are done",
        Redis.durability,
        needs_node=True,
    ),
    "graphile-worker": Entry(
        "peers.node_queues:GraphileWorker",
        "postgres",
        (),
        "2 x run, 24 jobs at once, local queue of 200, add_jobs; no result store: INSERT by the job",
        Postgres.durability,
        needs_node=True,
    ),
}
"""By the names that tables and ``--only`` use."""
NODE = [name for name, entry in FIELD.items() if entry.needs_node]
USUAL = [name for name in FIELD if name not in NODE]
"""Those that run when nobody says which."""


def leave_out_missing(names: Sequence[str]) -> list[str]:
    """Return the queues that can run here, each once; say which cannot, and why."""
    missing = [name for name in names if FIELD[name].needs_node]
    try:
        if missing:
            find_node()
    except MissingError as error:
        print(f"Left out: {', '.join(missing)}: {error}.")
        names = [name for name in names if name not in missing]
    return list(dict.fromkeys(names))
