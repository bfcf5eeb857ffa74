"""Replicas whose processes are made of nothing, under a clock of the test's own."""

import itertools
from dataclasses import dataclass, field

from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.replicas.replica import ReplicaFigures


@dataclass
class HandProcess:
    """A process that does what the test says."""

    world: "World"
    pid: int
    url: str
    alive: bool = True
    well: bool = True
    stubborn: bool = False
    end: str = "it ended: exit code 1"

    def find_end(self):
        return None if self.alive else self.end

    def probe(self):
        self.world.probes += 1
        return ReplicaFigures(calls=self.pid) if self.alive and self.well else None

    def drain(self):
        self.world.drained.append(self.pid)
        self.alive = self.alive and self.stubborn

    def kill(self):
        self.world.killed.append(self.pid)
        self.alive = False


@dataclass
class World:
    """All processes that were ever started, and how the next ones will be."""

    processes: list[HandProcess] = field(default_factory=list)
    refuses: str | None = None
    starts_well: bool = True
    stubborn: bool = False
    probes: int = 0
    drained: list[int] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)
    pids: itertools.count = field(default_factory=lambda: itertools.count(100))

    def spawn(self):
        if self.refuses is not None:
            raise AgentError(self.refuses)
        pid = next(self.pids)
        process = HandProcess(self, pid, f"http://127.0.0.1:{pid}", well=self.starts_well, stubborn=self.stubborn)
        self.processes.append(process)
        return process

    @property
    def alive(self):
        return [process for process in self.processes if process.alive]
