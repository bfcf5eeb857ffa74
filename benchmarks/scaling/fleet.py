"""A fleet: up to 10,000 simulated agents at real servers, and whether what they cost can be told beforehand.

Agents poll, hold jobs for a while, send heartbeats and hand in outcomes as ``worker-agent`` does, all in one event
loop. Small fleets that mostly do one thing give the CPU time of a poll, of a heartbeat and of a job; from these
follows what a large fleet should take, beside which stands what it took.
"""

import asyncio
import random
import resource
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from harness.backends import Postgres
from harness.tables import Table, number
from harness.usage import cpu_s, memory

from piecework import Client
from piecework.local import LocalServer
from piecework.protocol.messages import (
    Content,
    ContractReply,
    ContractRequest,
    HeartbeatReply,
    HeartbeatRequest,
    LeasedJob,
    LeaseRef,
    Outcome,
    WorkerRegister,
    WorkerRegistered,
)
from piecework.protocol.states import JobState
from scaling.wire import AgentConnection, BusyError, Reply

RUNTIME = "fleet"
POLL_S = 20.0
BEAT_S = 5.0
FIRST_BEAT_S = 2.5 / 3
"""The lease of a job that a waiting agent gets is short until its first heartbeat."""
MARGIN_S = 1.0
"""A server answers a poll so long before its time, or a quarter of that when it is short."""
REGISTERING = 64
"""Agents that register at once."""
SUBMIT_EVERY_S = 0.25
JOBS_PER_S, JOB_S = 20.0, 8.0
"""What fleets do, however large they are."""
BUSY_S = 2.0
"""An agent comes again so long after an answer that says that the server is busy."""
MB = 1e6
Rows = list[dict[str, Any]]
AGENT_MB = 0.045
"""Of the server for each agent that waits, as docs/operations.md says."""
ACTS = ("polls", "beats", "jobs")


class Cadence(NamedTuple):
    """What a fleet does."""

    agents: int
    jobs_per_s: float = 0.0
    job_s: float = 0.0
    """How long an agent holds a job."""
    poll_s: float = POLL_S
    beat_s: float = BEAT_S

    @property
    def busy(self) -> float:
        """How many agents have a job."""
        return min(self.jobs_per_s * self.job_s, self.agents)

    def predict_rates(self) -> dict[str, float]:
        """Return how often a second polls end without a job, heartbeats come, and jobs end."""
        held_s = self.poll_s - min(MARGIN_S, self.poll_s / 4)
        beats = statistics.fmean(self.count_beats(share / 100) for share in range(50, 150))
        # A job goes to the agent that has waited longest, whose poll would have ended next without one.
        polls = max(0.0, (self.agents - self.busy) / held_s - self.jobs_per_s)
        return {"polls": polls, "beats": beats * self.jobs_per_s, "jobs": self.jobs_per_s}

    def count_beats(self, share: float) -> int:
        """Return how many heartbeats a job needs that takes this share of the usual time."""
        left_s = self.job_s * share - min(FIRST_BEAT_S, self.beat_s)
        return 1 + int(left_s // self.beat_s) if left_s > 0 else 0


CALIBRATION = {
    "polls": Cadence(300, poll_s=1.2),
    "beats": Cadence(200, jobs_per_s=40, job_s=4.0, beat_s=0.5),
    "jobs": Cadence(200, jobs_per_s=120, job_s=0.3),
}
"""Fleets that mostly do one thing."""


@dataclass
class Tally:
    """What agents did and had to wait for."""

    counts: Counter[str] = field(default_factory=Counter)
    beat_s: list[float] = field(default_factory=list)


@dataclass
class Place:
    """Where a fleet works, and at what."""

    ports: Sequence[int]
    known: dict[int, str]
    """Paths of agents that registered, by their numbers."""
    cadence: Cadence
    tally: Tally


class Agent:
    """One simulated agent with one slot."""

    def __init__(self, number: int, place: Place) -> None:
        self._number, self._known, self._tally = number, place.known, place.tally
        self._cadence = place.cadence
        self._noise = random.Random(number)
        self._connection = AgentConnection(place.ports[number % len(place.ports)])
        self._incarnation = f"{self._noise.getrandbits(64):x}"
        self._path = ""

    async def live(self, gate: asyncio.Semaphore) -> None:
        """Register, then work until cancelled."""
        try:
            async with gate:
                await self.register()
            # The first poll is shorter by chance, so that the others do not end together.
            outcomes = await self._take_turn([], self._cadence.poll_s * self._noise.uniform(0.1, 1))
            while True:
                outcomes = await self._take_turn(outcomes, self._cadence.poll_s)
        finally:
            self._connection.close()

    async def register(self) -> None:
        """Become known, unless an earlier fleet had this agent."""
        if self._number not in self._known:
            body = WorkerRegister(runtime=[RUNTIME], slots=1, incarnation=self._incarnation)
            registered = await self._connection.post("/worker", body, WorkerRegistered)
            self._known[self._number] = f"/worker/{registered.id}"
        self._path = self._known[self._number]
        self._tally.counts["there"] += 1

    async def _take_turn(self, outcomes: list[Outcome], poll_s: float) -> list[Outcome]:
        """Hand in outcomes, wait for a job, and hold it for its time. Returns its outcome."""
        request = ContractRequest(
            max=1,
            timeout=poll_s,
            inline_max_bytes=32 * 1024,
            outcomes=outcomes,
            incarnation=self._incarnation,
        )
        self._tally.counts["jobs"] += len(outcomes)
        reply = await self._insist(f"{self._path}/contract", request, ContractReply)
        if not reply.jobs:
            self._tally.counts["polls"] += 1
            return []
        return [await self._hold(job) for job in reply.jobs]

    async def _hold(self, job: LeasedJob) -> Outcome:
        end_s = time.monotonic() + self._cadence.job_s * self._noise.uniform(0.5, 1.5)
        pause_s = min(self._cadence.beat_s, job.lease_s / 3)
        while (left_s := end_s - time.monotonic()) > 0:
            await asyncio.sleep(min(left_s, pause_s))
            if left_s > pause_s:
                pause_s = await self._beat(LeaseRef(job=job.job, lease=job.lease))
        return Outcome(job=job.job, lease=job.lease, state=JobState.FINISHED, output=Content(text="done"))

    async def _beat(self, lease: LeaseRef) -> float:
        """Renew a lease; return how long to wait before the next time."""
        began = time.monotonic()
        body = HeartbeatRequest(leases=[lease], incarnation=self._incarnation)
        await self._insist(f"{self._path}/heartbeat", body, HeartbeatReply)
        self._tally.beat_s.append(time.monotonic() - began)
        self._tally.counts["beats"] += 1
        return self._cadence.beat_s

    async def _insist(self, path: str, message: object, reply: type[Reply]) -> Reply:
        """Send a message, again after a while when the server has no room for it."""
        while True:
            try:
                return await self._connection.post(path, message, reply)
            except BusyError:
                self._tally.counts["refused"] += 1
                await asyncio.sleep(BUSY_S)


class Scene:
    """Servers, and perhaps a PostgreSQL, for one fleet after the other."""

    def __init__(self, folder: Path, stack: ExitStack, database: str, servers: int) -> None:
        environ = {"PIECEWORK_WAITERS_MAX": "20000"}
        self._database_pids: list[int] = []
        self._database_url = ""
        self._known: dict[int, str] = {}
        if database == "postgres":
            folder.chmod(0o755)
            postgres = Postgres(folder)
            stack.callback(postgres.close)
            self._database_pids, self._database_url = postgres.pids, postgres.url
            environ["PIECEWORK_DATABASE_URL"] = postgres.url
        self.servers = [LocalServer(folder, environ=environ) for _ in range(servers)]
        for server in self.servers:
            stack.callback(server.stop)
        self.client = stack.enter_context(Client(self.servers[0].url, ""))
        self.lambda_ = self.client.create_lambda(self.client.upload(b"fleet"), RUNTIME)

    def run(self, cadence: Cadence, seconds: float) -> dict[str, float]:
        """Have a fleet work, and return what a second of it took once all of it was there."""
        tally, stop = Tally(), threading.Event()
        with run_agents(Place([server.port for server in self.servers], self._known, cadence, tally)):
            submitter = threading.Thread(target=self._submit, args=(cadence.jobs_per_s, stop))
            submitter.start()
            threading.Event().wait(cadence.job_s + min(cadence.poll_s, 5.0))
            before, written, began = self._used(), self._written(), time.monotonic()
            counts = tally.counts.copy()
            tally.beat_s.clear()
            threading.Event().wait(seconds)
            passed_s, after = time.monotonic() - began, self._used()
            commits, log_bytes = (end - start for start, end in zip(written, self._written(), strict=True))
            done, sizes = tally.counts - counts, [memory([server.pid]).resident for server in self.servers]
            beats = sorted(tally.beat_s) or [0.0]
            stop.set()
            submitter.join()
        return {
            "refused": float(done["refused"]),
            **{f"{what}_per_s": done[what] / passed_s for what in ACTS},
            "server_cores": (after[0] - before[0]) / passed_s,
            "database_cores": (after[1] - before[1]) / passed_s,
            "commits_per_s": commits / passed_s,
            "log_kb_per_s": log_bytes / passed_s / 1000,
            "server_mb": statistics.fmean(sizes) / MB,
            "beat_p50_ms": beats[len(beats) // 2] * 1000,
            "beat_p99_ms": beats[len(beats) * 99 // 100] * 1000,
        }

    def _used(self) -> tuple[float, float]:
        return cpu_s(server.pid for server in self.servers), cpu_s(self._database_pids)

    def _written(self) -> tuple[int, int]:
        """Return how many transactions PostgreSQL committed, and the bytes of its log so far; 0 for SQLite."""
        if not self._database_url:
            return 0, 0
        with psycopg.connect(self._database_url) as connection:
            asked = "SELECT sum(xact_commit)::bigint, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"
            commits, log_bytes = connection.execute(f"{asked} FROM pg_stat_database").fetchone() or (0, 0)
            return int(commits), int(log_bytes)

    def _submit(self, jobs_per_s: float, stop: threading.Event) -> None:
        """Submit jobs steadily."""
        began, sent = time.monotonic(), 0
        while jobs_per_s and not stop.wait(SUBMIT_EVERY_S):
            due = int((time.monotonic() - began) * jobs_per_s) - sent
            self.client.submit_many(self.lambda_, [b"work"] * due)
            sent += due


@contextmanager
def run_agents(place: Place) -> Iterator[None]:
    """Have a fleet live during a block, once all of it is there. Raises AssertionError when one of it ended."""
    loop, gate = asyncio.new_event_loop(), asyncio.Semaphore(REGISTERING)
    tasks = [loop.create_task(Agent(number, place).live(gate)) for number in range(place.cadence.agents)]
    thread = threading.Thread(target=loop.run_forever, name="fleet")
    thread.start()
    try:
        pause = threading.Event()
        while place.tally.counts["there"] < len(tasks) and not any(task.done() for task in tasks):
            pause.wait(0.1)
        yield
        failed = [task for task in tasks if task.done()]
        assert not failed, f"{len(failed)} agents ended: {failed[0].exception()!r}"
    finally:
        asyncio.run_coroutine_threadsafe(end_all(tasks), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def end_all(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for their ends."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def measure(
    folder: Path, sizes: Sequence[int], seconds: float, databases: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Calibrate, then let fleets of these sizes work, on each database with so many servers.

    Returns a row for each fleet.
    """
    raise_file_limit()
    rows: Rows = []
    for database, servers in databases.items():
        with ExitStack() as stack:
            (folder / database).mkdir()
            scene = Scene(folder / database, stack, database, servers)
            idle = scene.run(Cadence(1), seconds / 2)
            small = {name: scene.run(cadence, seconds) for name, cadence in CALIBRATION.items()}
            costs = find_costs(idle, small)
            for size in sizes:
                cadence = Cadence(size, JOBS_PER_S, JOB_S)
                about = {"database": database, "servers": servers, "agents": cadence.agents}
                told = predict(cadence, costs, servers)
                rows.append({**about, "costs": costs, "told": told, "found": scene.run(cadence, seconds)})
    return rows


def find_costs(idle: Mapping[str, float], small: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the cost of each act, in cores for one in a second, and of an agent, MB; rest is ``base``."""
    costs = {"base": idle["server_cores"], "database_base": idle["database_cores"], "base_mb": idle["server_mb"]}
    for part in ("", "database_"):
        name, base = f"{part or 'server_'}cores", costs[f"{part}base"]
        polls = (small["polls"][name] - base) / small["polls"]["polls_per_s"]
        jobs = (small["jobs"][name] - base - polls * small["jobs"]["polls_per_s"]) / small["jobs"]["jobs_per_s"]
        other = base + polls * small["beats"]["polls_per_s"] + jobs * small["beats"]["jobs_per_s"]
        beats = (small["beats"][name] - other) / small["beats"]["beats_per_s"]
        costs |= {f"{part}polls": polls, f"{part}jobs": jobs, f"{part}beats": beats}
    return costs


def predict(cadence: Cadence, costs: Mapping[str, float], servers: int) -> dict[str, float]:
    """Return what a fleet should take by these costs, under the names of what it took."""
    rates = cadence.predict_rates()
    return {
        **{f"{what}_per_s": rate for what, rate in rates.items()},
        **{
            f"{part or 'server_'}cores": costs[f"{part}base"] + sum(costs[part + act] * rates[act] for act in ACTS)
            for part in ("", "database_")
        },
        "server_mb": costs["base_mb"] + AGENT_MB * cadence.agents / servers,
    }


def table(rows: Rows) -> Table:
    """One row for each fleet: what was told beforehand, and what was measured."""
    names = {
        "polls_per_s": "polls/s",
        "beats_per_s": "heartbeats/s",
        "jobs_per_s": "jobs/s",
        "server_cores": "servers, cores",
        "database_cores": "database, cores",
        "server_mb": "a server, MB",
    }
    return Table(
        "Fleets: told beforehand, and measured",
        ["database, servers", "agents", *names.values(), "heartbeat p50, p99 ms"],
        [
            [
                f"{row['database']}, {row['servers']}",
                f"{row['agents']:,}",
                *(f"{number(row['told'][name])}, {number(row['found'][name])}" for name in names),
                f"{number(row['found']['beat_p50_ms'])}, {number(row['found']['beat_p99_ms'])}",
            ]
            for row in rows
        ],
    )


def raise_file_limit() -> None:
    """Allow this process, and the servers that it starts, as many connections as the system lets it have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
