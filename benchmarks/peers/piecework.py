"""Piecework itself: a server and agents as users start them, driven by its Python client."""

import json
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from harness.contestant import DEADLINE_S, Contestant, backend_url, scratch
from harness.guests import CALL, UPPERCASE, WORK
from harness.work import CPU

from piecework import Client
from piecework.local import LocalAgent, LocalServer, open_house, stop_together


class _Piecework(Contestant):
    """What the set-ups have in common."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    @abstractmethod
    def open_house(self, stack: ExitStack) -> tuple[Sequence[LocalServer], Sequence[LocalAgent]]:
        """Start servers and agents, to be stopped with ``stack``. Jobs go to the first server."""

    def start(self) -> None:
        self._servers, self._agents = self.open_house(self._stack)
        self._client = self._stack.enter_context(Client(self._servers[0].url))
        self._noop = self._client.create_lambda(UPPERCASE.read_bytes())
        rounds = os.environ.get("BENCH_ROUNDS", "0")
        self._work = self._client.create_lambda(WORK.read_bytes(), args=[rounds])

    def run_all(self, payloads: list[str]) -> list[str | None]:
        results = self._client.map(self._lambda_for(payloads[0]), payloads, errors="return", wait_s=DEADLINE_S)
        return [result.output.decode() if result.ok else None for result in results]

    def run_one(self, payload: str) -> str | None:
        return self._client.run(self._lambda_for(payload), payload, DEADLINE_S).decode()

    def _lambda_for(self, payload: str) -> int:
        return self._work if payload[0] == CPU else self._noop

    def groups(self) -> Mapping[str, list[int]]:
        return {
            "server": [server.pid for server in self._servers],
            "agents": [agent.pid for agent in self._agents],
        }

    def stop(self) -> None:
        self._stack.close()


class TwoAgents(_Piecework):
    """Two agents with one slot each, as on two nodes."""

    def open_house(self, stack: ExitStack) -> tuple[Sequence[LocalServer], Sequence[LocalAgent]]:
        house = stack.enter_context(open_house(scratch(), "--slots", "1", agents=2))
        return [house.server], house.agents


class OneAgent(_Piecework):
    """One agent with two slots, as on one node."""

    def open_house(self, stack: ExitStack) -> tuple[Sequence[LocalServer], Sequence[LocalAgent]]:
        house = stack.enter_context(open_house(scratch(), "--slots", "2", agents=1))
        return [house.server], house.agents


class Called(OneAgent):
    """No-ops that are called as a library, JSON to JSON, instead of started as a program."""

    def start(self) -> None:
        super().start()
        self._noop = self._client.create_lambda(CALL.read_bytes(), runtime="funless")

    def run_all(self, payloads: list[str]) -> list[str | None]:
        if payloads[0][0] == CPU:
            return super().run_all(payloads)
        answers = super().run_all([json.dumps(payload) for payload in payloads])
        return [None if text is None else json.loads(text) for text in answers]

    def run_one(self, payload: str) -> str | None:
        answer = super().run_one(json.dumps(payload))
        return None if answer is None else str(json.loads(answer))


class OnPostgres(_Piecework):
    """Two servers that share a PostgreSQL database, an agent at each."""

    def open_house(self, stack: ExitStack) -> tuple[Sequence[LocalServer], Sequence[LocalAgent]]:
        servers, agents = [], []
        database = {"PIECEWORK_DATABASE_URL": backend_url()}
        for number in (1, 2):
            folder = scratch() / f"server-{number}"
            server = stack.enter_context(LocalServer(folder, environ=database))
            agents.append(LocalAgent(server.url, folder, f"agent-{number}", "--slots", "1"))
            # Agents end before any server does, whichever of them is stopped first.
            stack.callback(stop_together, agents)
            servers.append(server)
        return servers, agents

    def start(self) -> None:
        super().start()
        self._reader = self._stack.enter_context(Client(self._servers[-1].url))

    def run_all(self, payloads: list[str]) -> list[str | None]:
        ids = self._client.submit_many(self._lambda_for(payloads[0]), payloads)
        ended = dict(self._reader.results(ids, DEADLINE_S))
        return [ended[job].output.decode() if ended[job].ok else None for job in ids]

    def run_one(self, payload: str) -> str | None:
        job = self._client.submit(self._lambda_for(payload), payload)
        return self._reader.result(job, DEADLINE_S).decode()
