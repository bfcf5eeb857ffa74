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
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from agents import Executions, SimulatedAgent
from fibers import Machine, World
from judge import Judge
from network import NONE, Faults, Network, Receiver, Sent, SimulatedTransport
from old_workers import OldWorker
from servers import SWEEP_S, ServerClock, SimulatedServer
from trust import STREAK_LEAST, Trust
from trust_judge import UNLOOKED, TrustJudge, find_leaks
from trusting import TrustingWorkload
from workload import LIMITS, RATE_LIMIT, RATE_PERIOD_S, TOLD, Asked, Deeds, Workload

from piecework.client import Client
from piecework.client.replies import HttpReply
from piecework.client.retries import RetryPolicy
from piecework.protocol import bodies
from piecework.protocol.ids import Id
from piecework.protocol.messages import ContractReply, JobInfo
from piecework.server.services.queue.trust import agreement
from piecework.server.services.tokens.token_acts import create_token

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
AWAITED = (UNENDED, UNTOLD, UNLOOKED)
"""What there is none of once all has come to its end."""
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
        self.trust = Trust.draw(Random(-seed))
        self.trust_judge = TrustJudge(self.trust) if self.trust else None
        self.judge = Judge(self.executions, self.trust_judge)
        count = random.choice([1, 2]) if database_url else 1
        settings: dict[str, Any] = {
            "lease_s": random.choice([5.0, 15.0]),
            "legacy_lease_s": 20.0,
            "database_url": database_url,
            **(self.trust.find_settings() if self.trust else {}),
        }
        self.servers = [
            SimulatedServer(
                self.world, self.network, self.receiver, self.clock, f"server {n}", folder / "data", **settings
            )
            for n in range(count)
        ]
        self.token: str | None = None
        """What users show."""
        self.agents: list[SimulatedAgent] = []
        self.old_workers: list[OldWorker] = []
        self.users: list[Workload] = []
        self.deeds = Deeds()
        self.found: list[str] = []
        self.jumps = 0
        """How often the clock was set: then it does not tell what came before what."""
        self.is_over = False

    def run(self) -> Verdict:
        for server in self.servers:
            server.on_answer = self._see
            server.sweeps = self.trust is not None
            server.start()
        self._add_nodes()
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

    def _add_nodes(self) -> None:
        """Have agents; where there is trust, one of each owner, or two."""
        random, trust = self.random, self.trust
        if trust:
            tokens = {owner.name: self._new_token(owner.name, "worker") for owner in trust.owners}
            self.token = self._new_token("users", "admin")
            for owner in [*trust.owners, *random.sample(trust.owners, random.choice([0, 1]))]:
                self._add_agent([1, 2], token=tokens[owner.name], answer=partial(trust.answer, owner))
            return
        for _ in range(random.randint(1, 3)):
            self._add_agent([1, 2, 4])
        self.old_workers = [
            OldWorker(self.world, self.network, random.choice(self.servers), f"old worker {n}", random)
            for n in range(random.choice([0, 0, 1, 2]))
        ]

    def _add_agent(self, slots: list[int], **shown: Any) -> None:
        name = f"agent {len(self.agents)}"
        self.agents.append(
            SimulatedAgent(
                self.world, self.network, self.servers, self.executions, name, self.folder / name.replace(" ", ""),
                slots=self.random.choice(slots), random=self.random, **shown,
            )
        )  # fmt: skip

    def _new_token(self, name: str, scope: str) -> str:
        services = self.servers[0].services
        assert services is not None
        return create_token(services.database, name, scope, self.clock())

    def _see(self, sent: Sent, reply: HttpReply) -> None:
        """Have what a server answers judged, and I4: no more jobs of a key run than its limit says."""
        self.judge.see(sent, reply)
        if sent.target.endswith("/contract"):
            above = [
                f"{count} jobs of key {key} run" for key, count in self._select(RUNNING) if count > LIMITS[key]
            ]
            self.found += above
            if self._is_held and has_jobs(reply, self.lambda_id):
                self.found.append(f"jobs were leased at {self.world.now_s:.3f} s while their lambda was paused")

    @property
    def _is_held(self) -> bool:
        """Whether nothing may be leased now. A request that the network repeats may resume what it finds."""
        since_s = None if self.deeds.resuming else self.deeds.held_since_s
        return since_s is not None and self.world.now_s > since_s + SETTLED_S and not self.network.faults.repeated

    def _live(self) -> None:
        client = self.new_client()
        codex = client.upload(CODE).id
        self.lambda_id = client.create_lambda(codex, "wasi")
        if self.trust:
            self.trust.create_lambdas(client, codex)
        client.create_webhook(TOLD, "http://127.0.0.1:1/")
        self.network.faults = self._draw_faults()
        for number in range(self.random.randint(1, 2)):
            user = self._new_user()
            self.users.append(user)
            Machine(self.world, f"user {number}").start(lambda user=user: user.run(BUSY_S), "user")
        while self.world.now_s < BUSY_S:
            self.world.sleep(0.5)
            self._trouble(0.5)
            self._watch()
        self.network.faults = NONE
        while not all(user.is_done for user in self.users):
            self.world.sleep(1.0)
        self.world.sleep(LATE_S)
        client.resume("lambda", self.lambda_id)
        asked = {int(id_): job for user in self.users for id_, job in user.asked.items()}
        self._await_ends()
        for job in asked.values():
            job.may_be_cancelled |= self.deeds.cancels > 0
            job.retries += self.deeds.retries
        if self.trust:
            for server in self.servers:
                server.sweeps = False
            self.world.sleep(SWEEP_S)
        self._judge(client, asked)
        self.is_over = True

    def _judge(self, client: Client, asked: dict[int, Asked]) -> None:
        judge, keeps_time = self.judge, not self.jumps
        self.found += judge.find_faults(client, asked)
        self.found += judge.find_wrong_news(asked, self.receiver.told.values())
        jobs = [id_ for (id_,) in self._select("SELECT id FROM jobs")]
        self.found += judge.find_miscounts(client, jobs, client.stats("month").total)
        if keeps_time:
            self.found += judge.find_rushes(asked, RATE_LIMIT, RATE_PERIOD_S)
        self.found += judge.find_doubled_ticks(self._select(TICKS), self._select(JOBS_OF_TICKS))
        if self.trust and self.trust_judge:
            self.found += self.trust_judge.find_wrong_votes(judge.trails, self._select)
            self.found += self.trust_judge.find_left_over(self._select)
            if keeps_time:
                self.found += self.trust_judge.find_standing(self._select)
                self.found += self.trust_judge.find_standing_answers(judge.jobs, judge.trails)
            client.bulk_ids("delete", (id_ for (id_,) in self._select("SELECT id FROM jobs")))
            for lambda_id in self.trust.lambdas.values():
                client.forget_memos(lambda_id)
            self.found += find_leaks(self._select)

    def _new_user(self) -> Workload:
        shared = self.world, self.new_client(), self.lambda_id, self.random, self.deeds
        if self.trust is None or self.trust_judge is None:
            return Workload(*shared)
        see = self.trust_judge.find_faults_of

        def look(job: Asked, info: JobInfo) -> None:
            self.found += [
                f"job {info.id}, {info.state}, as somebody sees it: {fault}" for fault in see(job, info)
            ]

        return TrustingWorkload(*shared, trust=self.trust, on_look=look)

    def _watch(self) -> None:
        if self.trust_judge and any(server.services is not None for server in self.servers):
            self.trust_judge.watch_owners(self._select, self.clock())

    def _select(self, statement: str) -> list[Any]:
        """Read from the database itself."""
        services = next(server.services for server in self.servers if server.services is not None)
        with services.database.read() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement)]

    def _await_ends(self) -> None:
        """I6: once faults stop, everything ends within a bounded time."""
        deadline_s = self.world.now_s + CALM_S
        while self.world.now_s < deadline_s:
            self._watch()
            if not any(map(self._select, AWAITED)):
                return
            self.world.sleep(1.0)

    def new_client(self) -> Client:
        client = Client("http://127.0.0.1:8000")
        client.transport = SimulatedTransport(
            self.network, lambda: self.random.choice(self.servers), token=self.token, retries=RetryPolicy()
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
            self.jumps += 1
            self.clock.offset_ms += round(self.random.uniform(-JUMP_S, JUMP_S) * 1000)


def has_jobs(reply: HttpReply, lambda_id: Id) -> bool:
    """Tell whether a contract was given jobs of a lambda; by the protocol of v0.5: any."""
    if not reply.ok:
        return False
    if bodies.MSGPACK in reply.headers["content-type"]:
        jobs = bodies.decode(reply.content, ContractReply, bodies.MSGPACK).jobs or ()
        return any(job.lambda_ == lambda_id for job in jobs)
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
        patch.object(agreement, "STREAK_LEAST", STREAK_LEAST),
        patch.object(os, "fsync", lambda _: None),
        patch.object(time, "sleep", lambda _: None),  # others go first, real ones, of which there are none
    ):
        try:
            yield
        finally:
            system_random.setstate(state)
