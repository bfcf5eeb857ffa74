"""Upgrades of servers while agents and clients work: from this program to the next release, and back.

The next release is this program with three migrations more (``tests/support/next_release.py``): once all of them
ran, this program cannot use the database any more.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from evidence import trouble_in
from next_release import CONTRACTED, FILLED, STANDS_STILL_AT, NextCommand, NextServer, last_revision, next_release
from postgres import Cluster
from steady_load import SteadyLoad

from piecework.local import LocalAgent, LocalServer, ProgramError, stop_together
from piecework.server.store.engine.database import Database, open_database
from piecework.server.store.schema.migrating import upgrade_schema
from piecework.server.store.schema.standing import current_revision

pytestmark = pytest.mark.integration

SERVERS, AGENTS = 3, 2


class Fleet:
    """Three servers on one PostgreSQL database, two with an agent; any of them may be of either release."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.environ = {"PIECEWORK_DATABASE_URL": url}
        (folder / "data").mkdir()
        self.servers = [self._start(number, LocalServer) for number in range(SERVERS)]
        self.agents = [
            LocalAgent(server.url, folder, f"agent-{number}", "--slots", "1")
            for number, server in enumerate(self.servers[:AGENTS])
        ]

    def _start(self, number: int, kind: type[LocalServer], port: int = 0) -> LocalServer:
        place = self.folder / f"server-{number}"
        place.mkdir(exist_ok=True)
        if not (place / "data").exists():
            (place / "data").symlink_to(self.folder / "data")
        return kind(place, port=port, environ=self.environ)

    def restart(self, number: int, kind: type[LocalServer]) -> None:
        """Stop one server in order, and start one of a release in its place."""
        server = self.servers[number]
        assert server.stop() == 0
        self.servers[number] = self._start(number, kind, server.port)

    def migrate(self, *options: str) -> NextCommand:
        """Run the next release's `piecework server migrate` to its end."""
        return NextCommand(self.folder, "server", "migrate", *options, environ=self.environ)

    def close(self) -> None:
        stop_together(self.agents)
        stop_together(self.servers)


@contextmanager
def _open_fleet(folder: Path) -> Iterator[Fleet]:
    cluster = Cluster(folder / "postgres")
    try:
        fleet = Fleet(folder, cluster.create_database("fleet"))
        try:
            yield fleet
        finally:
            fleet.close()
    finally:
        cluster.close()


def test_three_servers_are_upgraded_one_by_one(tmp_path: Path):
    with _open_fleet(tmp_path) as fleet:
        with SteadyLoad([server.url for server in fleet.servers]) as load:
            load.go_on()
            assert "migrate --expand-only" in _refuse_to_start(fleet.folder / "early", NextServer, fleet.environ)
            assert fleet.migrate("--expand-only").wait() == 0
            load.go_on()
            for number in range(SERVERS):
                if number == SERVERS - 1:
                    contract = fleet.migrate()
                    assert contract.wait() == 1
                    assert "older than 9002, and there are 1 of them" in contract.read_log()
                fleet.restart(number, NextServer)
                assert "contract migrations are pending" in fleet.servers[number].read_log()
                load.go_on()
            done = fleet.migrate()
            assert done.wait() == 0, done.read_log()
            assert f"schema version {FILLED} -> {CONTRACTED}" in done.read_log()
            load.go_on()
        assert "is for servers of version 9002 and newer" in _refuse_to_start(
            fleet.folder / "late", LocalServer, fleet.environ
        )
        _check(fleet, load, ["new", "old"])


def test_three_servers_go_back_one_by_one(tmp_path: Path):
    with _open_fleet(tmp_path) as fleet:
        with SteadyLoad([server.url for server in fleet.servers]) as load:
            assert fleet.migrate("--expand-only").wait() == 0
            fleet.restart(0, NextServer)
            load.go_on()
            back = fleet.migrate("--to", last_revision())
            assert back.wait() == 1
            assert "needs that no server runs that is newer than 9001" in back.read_log()
            fleet.restart(0, LocalServer)
            assert "a newer schema, which this program may use" in fleet.servers[0].read_log()
            load.go_on()
            back = fleet.migrate("--to", last_revision())
            assert back.wait() == 0, back.read_log()
            load.go_on()
            fleet.restart(1, LocalServer)
            load.go_on()
        _check(fleet, load, [])


def _check(fleet: Fleet, load: SteadyLoad, tints: list[str]) -> None:
    database = open_database(fleet.url)
    try:
        load.check(database)
        if tints:
            assert _read_tints(database) == tints
    finally:
        database.close()
    logs = [*fleet.folder.glob("server-*/server.log"), *fleet.folder.glob("agent-*.log")]
    assert len(logs) == SERVERS + AGENTS
    assert [line for log in logs for line in trouble_in(log)] == []


def _read_tints(database: Database) -> list[str]:
    with database.read() as connection:
        return sorted(connection.exec_driver_sql("SELECT DISTINCT tint FROM jobs").scalars())


def _refuse_to_start(folder: Path, kind: type[LocalServer], environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ProgramError) as refused:
        kind(folder, environ=environ)
    return str(refused.value)


def test_one_server_on_sqlite_is_upgraded_and_back(tmp_path: Path):
    careful = {"PIECEWORK_MIGRATE": "expand"}
    server = LocalServer(tmp_path)
    agent = LocalAgent(server.url, tmp_path, "agent", "--slots", "1")
    try:
        with SteadyLoad([server.url] * 2) as load:
            load.go_on()
            for kind, environ in ((NextServer, careful), (LocalServer, None), (NextServer, None)):
                assert server.stop() == 0
                server = kind(tmp_path, "--log-format", "json", port=server.port, environ=environ)
                load.go_on()
        line = next(json.loads(each) for each in server.read_log().splitlines() if "migrated the schema" in each)
        assert (line["before"], line["after"]) == (FILLED, CONTRACTED)
        assert line["took_s"] >= 0
        assert Path(line["copy"]).name == f"piecework-{FILLED}.db"
    finally:
        stop_together([agent])
        stop_together([server])
    assert "9002 and newer" in _refuse_to_start(tmp_path, LocalServer)
    database = open_database(f"sqlite:///{tmp_path / 'data' / 'piecework.db'}")
    load.check(database)
    assert _read_tints(database) == ["new", "old"]
    database.close()
    assert trouble_in(tmp_path / "agent.log") == []


@pytest.mark.parametrize("revision", ["9001", "9002", "9003"])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_migration_that_is_killed_is_run_again(tmp_path: Path, kind: str, revision: str):
    with _open_place(tmp_path, kind) as (url, database):
        environ = {"PIECEWORK_DATABASE_URL": url}
        killed = NextCommand(tmp_path, "server", "migrate", environ=environ | {STANDS_STILL_AT: revision})
        killed.wait_for_line(re.compile(f"standing still at {revision}"))
        killed.kill()
        whole = kind == "sqlite" or revision == "9001"
        assert current_revision(database) == (last_revision() if whole else str(int(revision) - 1))
        again = NextCommand(tmp_path, "server", "migrate", environ=environ)
        assert again.wait() == 0, again.read_log()
        assert current_revision(database) == CONTRACTED


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_way_back_that_is_killed_is_gone_again(tmp_path: Path, kind: str):
    with _open_place(tmp_path, kind) as (url, database):
        with next_release():
            upgrade_schema(database, FILLED)
        environ = {"PIECEWORK_DATABASE_URL": url}
        command = ("server", "migrate", "--to", last_revision())
        killed = NextCommand(tmp_path, *command, environ=environ | {STANDS_STILL_AT: "9002"})
        killed.wait_for_line(re.compile("standing still at 9002"))
        killed.kill()
        assert current_revision(database) == FILLED
        again = NextCommand(tmp_path, *command, environ=environ)
        assert again.wait() == 0, again.read_log()
        assert current_revision(database) == last_revision()


@contextmanager
def _open_place(folder: Path, kind: str) -> Iterator[tuple[str, Database]]:
    cluster = Cluster(folder / "postgres") if kind == "postgresql" else None
    url = cluster.create_database("killed") if cluster else f"sqlite:///{folder / 'piecework.db'}"
    database = open_database(url)
    try:
        upgrade_schema(database)
        yield url, database
    finally:
        database.close()
        if cluster:
            cluster.close()
