"""One history: servers, agents and users live through what a seed says, then everybody is well, and is judged."""

import json
import os
import random as system_random
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from agents import Executions, SimulatedAgent
from fibers import Machine, World
from judge import Judge
from network import NONE, Faults, Network, Receiver, Sent, SimulatedTransport
from old_workers import OldWorker
from servers import ServerClock, SimulatedServer
from workload import LIMITS, RATE_LIMIT, RATE_PERIOD_S, TOLD, Deeds, Workload

from piecework.client import Client
from piecework.client.replies import HttpReply
from piecework.client.retries import RetryPolicy
from piecework.protocol import bodies
from piecework.protocol.messages import ContractReply

CODE = b"\0asm\1\0\0\0\1\4\1\x60\0\0\3\2\1\0\7\n\1\6_start\0\0\n\4\1\2\0\x0b"
"""A WASI command that does nothing; nobody runs it here."""
BUSY_S = 30.0
"""For so long users ask for things, and faults happen."""
CALM_S = 500.0
"""Then all jobs have to end within this time: leases, back-offs and retries included."""
RUNNING = (
    "SELECT concurrency_key, count(*) FROM jobs WHERE state = 'Running' AND concurrency_key IS NOT NULL GROUP BY 1"
)
UNENDED = "SELECT id FROM jobs WHERE finished_at IS NULL LIMIT 1"
UNTOLD = "SELECT id FROM deliveries WHERE state IN ('waiting', 'sending') LIMIT 1"
TICKS = "SELECT schedule_id, job_id FROM ticks WHERE job_id IS NOT NULL"
JOBS_OF_TICKS = "SELECT schedule_id, id FROM jobs WHERE schedule_id IS NOT NULL"
LATE_S = 10.0
"""What the network repeats comes within this time."""
SETTLED_S = 0.01
"""A contract that was given its jobs before a pause may be answered this long after it."""
JUMP_S = 30.0
"""A server's clock is set by this much at most."""


@dataclass
class Verdict:
    """How a history went."""

    seed: int
    faults: list[str]
    """What was wrong; none, as it should be."""
    jobs: int
    requests: int
    crashes: int
    ended_s: float
    """How much simulated time it took."""


LiveThrough = Callable[[int], Verdict]
"""Lives through the history of a seed."""


class History:
    """One seed's servers, agents, users and faults."""

    def __init__(self, seed: int, folder: Path, database_url: str = "") -> None:
        self.seed, self.folder = seed, folder
        self.random = random = Random(seed)
        self.world = World(random)
        self.network = Network(self.world)
        self.receiver = Receiver(self.network)
        self.clock = ServerClock(self.world)
        self.executions = Executions()
        self.judge = Judge(self.executions)
        count = random.choice([1, 2]) if database_url else 1
        settings: dict[str, Any] = {
            "lease_s": random.choice([5.0, 15.0]),
            "legacy_lease_s": 20.0,
            "database_url": database_url,
        }
        self.servers = [
            SimulatedServer(
                self.world, self.network, self.receiver, self.clock, f"server {n}", folder / "data", **settings
            )
            for n in range(count)
        ]
        self.agents = [
            SimulatedAgent(
                self.world, self.network, self.servers, self.executions, f"agent {n}", folder / f"agent{n}",
                slots=random.choice([1, 2, 4]), random=random,
            )
            for n in range(random.randint(1, 3))
        ]  # fmt: skip
        self.old_workers = [
            OldWorker(self.world, self.network, random.choice(self.servers), f"old worker {n}", random)
            for n in range(random.choice([0, 0, 1, 2]))
        ]
        self.users: list[Workload] = []
        self.deeds = Deeds()
        self.found: list[str] = []
        self.is_over = False

    def run(self) -> Verdict:
        for server in self.servers:
            server.on_answer = self._see
            server.start()
        for node in (*self.agents, *self.old_workers):
            node.start()
        operator = Machine(self.world, "operator")
        operator.start(self._live, "life")
        self.world.run(BUSY_S + CALM_S + 600, lambda: self.is_over or bool(self.world.bugs))
        if not self.is_over and not self.world.bugs:
            self.found.append("the history did not come to its end")
        for node in (*self.agents, *self.old_workers):
            node.stays_away = True
            node.die()
        for server in self.servers:
            server.close()
        asked = {id_: job for user in self.users for id_, job in user.asked.items()}
        crashes = sum(server.starts - 1 for server in self.servers)
        return Verdict(
            self.seed, self.world.bugs + self.found, len(asked), self.network.requests, crashes, self.world.now_s
        )

    def _see(self, sent: Sent, reply: HttpReply) -> None:
        """Have what a server answers judged, and I4: no more jobs of a key run than its limit says."""
        self.judge.see(sent, reply)
        if sent.target.endswith("/contract"):
            above = [
                f"{count} jobs of key {key} run" for key, count in self._select(RUNNING) if count > LIMITS[key]
            ]
            self.found += above
            if self._is_held and has_jobs(reply):
                self.found.append(f"jobs were leased at {self.world.now_s:.3f} s while their lambda was paused")

    @property
    def _is_held(self) -> bool:
        """Whether nothing may be leased now. A request that the network repeats may resume what it finds."""
        since_s = None if self.deeds.resuming else self.deeds.held_since_s
        return since_s is not None and self.world.now_s > since_s + SETTLED_S and not self.network.faults.repeated

    def _live(self) -> None:
        client = self.new_client()
        codex = client.upload(CODE).id
        lambda_id = client.create_lambda(codex, "wasi")
        client.create_webhook(TOLD, "http://127.0.0.1:1/")
        self.network.faults = faults = self._draw_faults()
        for number in range(self.random.randint(1, 2)):
            user = Workload(self.world, self.new_client(), lambda_id, self.random, self.deeds)
            self.users.append(user)
            Machine(self.world, f"user {number}").start(lambda user=user: user.run(BUSY_S), "user")
        while self.world.now_s < BUSY_S:
            self.world.sleep(0.5)
            self._trouble(0.5)
        self.network.faults = NONE
        while not all(user.is_done for user in self.users):
            self.world.sleep(1.0)
        self.world.sleep(LATE_S)
        client.resume("lambda", lambda_id)
        asked = {int(id_): job for user in self.users for id_, job in user.asked.items()}
        self._await_ends()
        for job in asked.values():
            job.may_be_cancelled |= self.deeds.cancels > 0
            job.retries += self.deeds.retries
        self.found += self.judge.find_faults(client, asked)
        self.found += self.judge.find_wrong_news(asked, self.receiver.told.values())
        jobs = [id_ for (id_,) in self._select("SELECT id FROM jobs")]
        self.found += self.judge.find_miscounts(client, jobs, client.stats("month").total)
        if not faults.clock_jump_each_s:  # else no clock tells how far apart two starts were
            self.found += self.judge.find_rushes(asked, RATE_LIMIT, RATE_PERIOD_S)
        self.found += self.judge.find_doubled_ticks(self._select(TICKS), self._select(JOBS_OF_TICKS))
        self.is_over = True

    def _select(self, statement: str) -> list[Any]:
        """Read from the database itself."""
        services = next(server.services for server in self.servers if server.services is not None)
        with services.database.read() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement)]

    def _await_ends(self) -> None:
        """I6: once faults stop, everything ends within a bounded time."""
        deadline_s = self.world.now_s + CALM_S
        while self.world.now_s < deadline_s:
            if not self._select(UNENDED) and not self._select(UNTOLD):
                return
            self.world.sleep(1.0)

    def new_client(self) -> Client:
        client = Client("http://127.0.0.1:8000")
        client.transport = SimulatedTransport(
            self.network, lambda: self.random.choice(self.servers), retries=RetryPolicy()
        )
        return client

    def _draw_faults(self) -> Faults:
        """Choose what goes wrong in this history: often little, so that single faults show what they do."""
        random = self.random

        def some(most: float) -> float:
            return random.choice([0.0, 0.0, most / 10, most])

        return Faults(
            lost_request=some(0.1), lost_answer=some(0.1), repeated=some(0.1), slow=some(0.1),
            crash_before_commit=some(0.02), crash_after_commit=some(0.02), failed_commit=some(0.05),
            server_crash_each_s=some(0.1), agent_crash_each_s=some(0.1), agent_stop_each_s=some(0.05),
            agent_freeze_each_s=some(0.05), clock_jump_each_s=some(0.02),
        )  # fmt: skip

    def _trouble(self, seconds: float) -> None:
        """Let happen what happens to machines within so many seconds."""
        faults, happens = self.network.faults, self.network.happens
        for server in self.servers:
            if happens(faults.server_crash_each_s * seconds) and server.services is not None:
                server.crash()
        for node in (*self.agents, *self.old_workers):
            if happens(faults.agent_crash_each_s * seconds):
                node.die()
        for agent in self.agents:
            if happens(faults.agent_stop_each_s * seconds):
                agent.stop()
            if happens(faults.agent_freeze_each_s * seconds):
                agent.freeze()
        if happens(faults.clock_jump_each_s * seconds):
            self.clock.offset_ms += round(self.random.uniform(-JUMP_S, JUMP_S) * 1000)


def has_jobs(reply: HttpReply) -> bool:
    """Tell whether a contract was given something to do, by either protocol."""
    if not reply.ok:
        return False
    if bodies.MSGPACK in reply.headers["content-type"]:
        return bool(bodies.decode(reply.content, ContractReply, bodies.MSGPACK).jobs)
    return json.loads(reply.content).get("job") is not None


def run_history(seed: int, folder: Path, database_url: str = "") -> Verdict:
    """Live through one history in a folder of its own, which is removed."""
    try:
        with _all_random(seed):
            return History(seed, folder, database_url).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _all_random(seed: int) -> Iterator[None]:
    """Have the libraries' own random numbers come from the seed, too."""
    tokens = Random(seed + 1)
    state = system_random.getstate()
    system_random.seed(seed)

    def token_hex(nbytes: int | None = None) -> str:
        return tokens.randbytes(nbytes or 32).hex()

    with (
        patch.object(secrets, "token_hex", token_hex),
        patch.object(secrets, "token_urlsafe", token_hex),
        patch.object(os, "fsync", lambda _: None),
        patch.object(time, "sleep", lambda _: None),  # others go first, real ones, of which there are none
    ):
        try:
            yield
        finally:
            system_random.setstate(state)
