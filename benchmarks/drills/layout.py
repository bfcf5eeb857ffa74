"""Several servers as operations.md draws them, on one machine: PostgreSQL, S3, servers, Caddy and agents.

All are real processes that can be killed, frozen, and started again where they were.
"""

import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from evidence import process_tree

from piecework import Client
from piecework.http.ports import find_port
from piecework.local import ChildProgram, LocalAgent, LocalServer, stop_together

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from patience import until
from postgres import Cluster
from s3_server import BUCKET, S3Server

CADDY = Path(sysconfig.get_path("scripts")) / "caddy"
CADDYFILE = Path(__file__).parents[2] / "deploy" / "Caddyfile"
DURABLE = ("fsync=off", "synchronous_commit=on", "max_connections=200")
"""What is committed survives the death of the database's processes; the machine itself stays up."""
PATIENT = 200
"""A client of the drill repeats what may be repeated so often."""


class Replaceable:
    """A program of this project that is started again after its end, under the same name and address."""

    def __init__(self, start: Callable[[], ChildProgram]) -> None:
        self._start = start
        self.now = start()

    def kill(self) -> None:
        self.now.kill()

    def stop(self) -> None:
        self.now.stop()

    def start(self) -> None:
        self.now = self._start()

    def pids(self) -> list[int]:
        return process_tree(self.now.pid)


class Database(Cluster):
    """A PostgreSQL whose commits survive a kill."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        super().__init__(folder, DURABLE)

    def kill(self) -> None:
        """Kill its first process; the others end when they notice."""
        children = self.pids()
        os.kill(children[0], signal.SIGKILL)
        self.close()
        until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in children), look_s=0.02)

    def pids(self) -> list[int]:
        postmaster = int((self.directory / "cluster" / "postmaster.pid").read_text().splitlines()[0])
        return process_tree(postmaster)


class Store(S3Server):
    """A SeaweedFS."""

    def pids(self) -> list[int]:
        return process_tree(self.pid)


class Proxy:
    """A Caddy with the Caddyfile of ``deploy``."""

    def __init__(self, folder: Path, servers: Iterable[str]) -> None:
        folder.mkdir()
        self._folder = folder
        self.url = f"http://127.0.0.1:{find_port('127.0.0.1', 0)}"
        places = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(folder))
        hosts = " ".join(url.removeprefix("http://") for url in servers)
        self._environ = os.environ | places | {"PIECEWORK_SITE": self.url, "PIECEWORK_SERVERS": hosts}
        config = "{\n\tadmin off\n}\n" + CADDYFILE.read_text()
        (folder / "Caddyfile").write_text(config)
        self.start()

    def start(self) -> None:
        command = [CADDY, "run", "--config", self._folder / "Caddyfile", "--adapter", "caddyfile"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, env=self._environ, stdout=log, stderr=log)
        with Client(self.url, attempts=PATIENT) as client:
            client.ping()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def pids(self) -> list[int]:
        return [self._process.pid]


class Layout:
    """All parts. Leaving its ``with`` block ends all of them."""

    def __init__(self, folder: Path, *, servers: int, agents: int) -> None:
        self._folder = folder
        self._stack = ExitStack()
        with self._stack:
            self.database = Database(folder / "postgres")
            self._stack.callback(self.database.close)
            self.database_url = self.database.create_database("piecework")
            self.store = Store(folder / "s3")
            self._stack.callback(self.store.kill)
            self.servers = [self._start_server(1)]  # it makes the schema
            self._stack.callback(self._stop, self.servers)
            with ThreadPoolExecutor() as threads:
                self.servers += threads.map(self._start_server, range(2, servers + 1))
            self.urls = [each.now.url for each in self.servers if isinstance(each.now, LocalServer)]
            self.proxy = Proxy(folder / "caddy", self.urls)
            self._stack.callback(self.proxy.kill)
            self.agents = [self._start_agent(number) for number in range(1, agents + 1)]
            self._stack.callback(self._stop, self.agents)
            self._stack = self._stack.pop_all()

    @property
    def logs(self) -> list[Path]:
        """The logs of servers and agents."""
        return [each.now.log for each in (*self.servers, *self.agents)]

    def connect(self) -> Client:
        """Return a client that asks the proxy first, and any server when that is away."""
        return Client([self.proxy.url, *self.urls], attempts=PATIENT)

    def stop_programs(self) -> None:
        """Stop agents and servers in order; the database stays."""
        self._stop(self.agents)
        self._stop(self.servers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start_server(self, number: int) -> Replaceable:
        folder = self._folder / f"server-{number}"
        port = find_port("127.0.0.1", 0)
        environ = self.store.environ | {
            "PIECEWORK_DATABASE_URL": self.database_url,
            "PIECEWORK_BLOBS": f"s3://{BUCKET}/drill",
        }
        return Replaceable(lambda: LocalServer(folder, port=port, environ=environ))

    def _start_agent(self, number: int) -> Replaceable:
        turn = number % len(self.urls)
        urls = ",".join((*self.urls[turn:], *self.urls[:turn]))
        return Replaceable(lambda: LocalAgent(urls, self._folder, f"agent-{number}", "--slots", "1"))

    @staticmethod
    def _stop(programs: Iterable[Replaceable]) -> None:
        stop_together([each.now for each in programs])
