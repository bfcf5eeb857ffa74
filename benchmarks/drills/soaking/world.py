"""The programs of a soak: a server, agents, perhaps a PostgreSQL; and what can be done to them."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from evidence import process_tree
from harness.backends import Postgres

from piecework.local import ChildProgram, LocalAgent, LocalServer, stop_together
from soaking.disk import SmallDisk

KEEP_SHORT = {
    "PIECEWORK_RETAIN_FINISHED": "60s",
    "PIECEWORK_RETAIN_FAILED": "60s",
    "PIECEWORK_RETAIN_CANCELLED": "60s",
    "PIECEWORK_EVENTS_MAX": "50000",
    "PIECEWORK_LEGACY_LEASE_S": "10",
    "PIECEWORK_VANISHED_MAX": "1000",
    "PIECEWORK_MAX_ATTEMPTS": "20",
}
"""What was done goes soon, so that rows and files flow; and no job is given up for what a fault did to it."""
GUESTS_PER_AGENT = 2
REPLICAS = 2
DISK_MB = 512


@dataclass(frozen=True)
class Plan:
    """What a soak is run with."""

    folder: Path
    agents: int = 2
    database: str = "sqlite"
    """``sqlite``, or ``postgres``: one of its own, of the tests' package."""
    environ: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By program, ``server`` or ``agent-1`` and so on: variables to add."""


class World:
    """A server and agents that work for it. Agent 1 and the server are those that may live to the end."""

    def __init__(self, plan: Plan) -> None:
        """Start everything. Raises ProgramError."""
        self._plan = plan
        self._change = threading.Lock()
        plan.folder.mkdir(parents=True, exist_ok=True)
        plan.folder.chmod(0o755)
        self.disk = SmallDisk(plan.folder / "data", DISK_MB)
        self._postgres: Postgres | None = None
        self._server: LocalServer | None = None
        self._agents: dict[str, LocalAgent] = {}
        self._away: set[str] = set()
        self.unexpected: list[str] = []
        """Programs that ended although nobody ended them."""
        try:
            if plan.database == "postgres":
                (plan.folder / "postgres").mkdir()
                self._postgres = Postgres(plan.folder / "postgres")
            self.start_server()
            for number in range(1, plan.agents + 1):
                self.start_agent(f"agent-{number}")
        except BaseException:
            self.close()
            raise

    @property
    def server(self) -> LocalServer:
        assert self._server is not None, "the server was started"
        return self._server

    def start_server(self) -> None:
        """Start the server, anew on the port that it had."""
        environ = {**KEEP_SHORT, **self._plan.environ.get("server", {})}
        if self._postgres is not None:
            environ["PIECEWORK_DATABASE_URL"] = self._postgres.url
        port = 0 if self._server is None else self._server.port
        started = LocalServer(self._plan.folder, port=port, environ=environ)
        with self._change:
            self._server = started

    def start_agent(self, name: str) -> None:
        """Start an agent, or the next process of one."""
        options = ("--slots", str(GUESTS_PER_AGENT), "--functions", str(REPLICAS))
        environ = self._plan.environ.get(name, {})
        started = LocalAgent(self.server.url, self._plan.folder, name, *options, environ=environ)
        with self._change:
            self._agents[name] = started

    def kill_server(self) -> None:
        """Kill the server with -9, and start it again."""
        with self._replacing("server"):
            self.server.kill()
            self.start_server()

    def restart_server(self) -> None:
        """Stop the server in order, have the database brought to this version's schema, and start it again."""
        with self._replacing("server"):
            self._check_end("server", self.server.stop())
            self._migrate()
            self.start_server()

    def kill_agent(self, name: str) -> None:
        """Kill an agent with -9, its guests with it, and start it again."""
        with self._replacing(name):
            self._agents[name].kill()
            self.start_agent(name)

    def restart_agent(self, name: str) -> None:
        """Have an agent drain, and start it again."""
        with self._replacing(name):
            self._check_end(name, self._agents[name].stop())
            self.start_agent(name)

    def kill_guest(self, name: str, noise: random.Random) -> None:
        """Kill a process that an agent started: one that runs guests, or a replica of the function."""
        started = process_tree(self._agents[name].pid)[1:]
        if started:
            with suppress(ProcessLookupError):
                os.kill(noise.choice(started), signal.SIGKILL)

    def roots(self) -> dict[str, int]:
        """Return the programs that run, by name. Notes those that ended by themselves."""
        with self._change:
            found = {name: each for name, each in self._list_programs().items() if name not in self._away}
            for name, program in found.items():
                said = f"{name} ended by itself with exit code {program.exit_code}"
                if program.exit_code is not None and said not in self.unexpected:
                    self.unexpected.append(said)
            return {name: program.pid for name, program in found.items() if program.exit_code is None}

    def _list_programs(self) -> dict[str, ChildProgram]:
        return {"server": self.server, **self._agents}

    @contextmanager
    def _replacing(self, name: str) -> Iterator[None]:
        """Have a program be away while its next process is made."""
        with self._change:
            self._away.add(name)
        yield
        with self._change:
            self._away.discard(name)

    def _check_end(self, name: str, code: int) -> None:
        if code:
            self.unexpected.append(f"{name} ended with exit code {code} when it was stopped")

    def close(self) -> None:
        """Stop all programs, and let go of the disk."""
        stop_together(self._agents.values())
        if self._server is not None:
            stop_together([self._server])
        if self._postgres is not None:
            self._postgres.close()
        self.disk.close()

    def _migrate(self) -> None:
        command = [sys.executable, "-m", "piecework", "server", "migrate", "--data", str(self.disk.place)]
        environ = dict(os.environ)
        if self._postgres is not None:
            environ["PIECEWORK_DATABASE_URL"] = self._postgres.url
        ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        if ran.returncode:
            self.unexpected.append(f"piecework server migrate ended with {ran.returncode}: {ran.stderr.strip()}")
