"""Databases on their way to the next release's schema, and back, with this program and that one beside them."""

import itertools
import re
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from house import migrated_file
from next_release import ADDED, CONTRACTED, FILLED, last_revision, next_release
from patience import LONG_S, until
from postgres import Cluster

from piecework.server.errors import MigrationRefused, SchemaMismatch
from piecework.server.store.engine import servers
from piecework.server.store.engine.database import Database, open_database, show_url
from piecework.server.store.engine.servers import FORGOTTEN_AFTER_MS
from piecework.server.store.schema.migrating import Migrated, read_plan, upgrade_schema, write_sql
from piecework.server.store.schema.patient_locks import try_patiently
from piecework.server.store.schema.standing import check_schema, current_revision, read_standing
from piecework.server.store.stock.tokens import add_token

NUMBERS = itertools.count()
NOW = 1_000_000_000
JOBS = 120
LANE = "INSERT INTO lanes (id, runtime, necessary, rejected, tenant) VALUES (2, 'wasi', '[]', '[]', '')"
LAMBDA = "INSERT INTO lambdas (id, codex, runtime, options, created_at) VALUES (1, 0, 'wasi', '{}', 1)"
JOB = (
    "INSERT INTO jobs (id, lambda_id, lane_id, state, priority, input_id, attempt, max_attempts, vanished,"
    " created_at) VALUES (%d, 1, 2, 'Enqueued', 0, 0, 0, 3, 0, 1)"
)


@pytest.fixture(scope="module")
def template(postgres: Cluster) -> str:
    """The name of a PostgreSQL database of this program's schema, with some jobs."""
    _fill(postgres.create_database("filled_once")).close()
    return "filled_once"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Database]:
    """A SQLite database with the same in it."""
    path = tmp_path / "piecework.db"
    path.write_bytes(migrated_file())
    database = _fill(f"sqlite:///{path}")
    yield database
    database.close()


@pytest.fixture
def shared(postgres: Cluster, template: str) -> Iterator[Database]:
    """A PostgreSQL database with the same in it."""
    database = open_database(postgres.create_database(f"filled_{next(NUMBERS)}", template))
    yield database
    database.close()


@pytest.fixture(params=["file", pytest.param("shared", marks=pytest.mark.integration)])
def filled(request: pytest.FixtureRequest) -> Database:
    """Each of them in turn."""
    found: Database = request.getfixturevalue(request.param)
    return found


def _fill(url: str) -> Database:
    database = open_database(url, synchronous="OFF")
    upgrade_schema(database)
    rows = [LANE, LAMBDA, *(JOB % number for number in range(1, JOBS + 1))]
    database.write(lambda c: [c.exec_driver_sql(row) for row in rows])
    return database


def _migrate_next(database: Database, to: str | None = None, **options: object) -> Migrated:
    with next_release():
        return upgrade_schema(database, to, clock=lambda: NOW, **options)


def _count(database: Database, where: str) -> int:
    with database.read() as connection:
        found: int = connection.exec_driver_sql(f"SELECT count(*) FROM jobs WHERE {where}").scalar_one()
        return found


@pytest.mark.slow
def test_going_back_leaves_no_expired_token_alive(filled: Database):
    over, ahead = 1000, 32_472_144_000_000
    for name, at in (("over", over), ("ahead", ahead), ("ever", None)):
        filled.write(partial(add_token, name=name, scope="view", sha256=name.encode(), now=1, expires_at=at))
    upgrade_schema(filled, "0028")
    with filled.read() as connection:
        rows = connection.exec_driver_sql("SELECT name, revoked_at FROM tokens ORDER BY id").all()
    assert rows == [("over", over), ("ahead", None), ("ever", None)]


def test_this_program_works_on_an_expanded_database(filled: Database):
    done = _migrate_next(filled, expand_only=True)
    assert (done.before, done.after) == (last_revision(), FILLED)
    assert _count(filled, "tint = 'old'") == JOBS
    standing = read_standing(filled)
    assert standing.is_newer
    assert standing.is_usable
    filled.write(lambda c: c.exec_driver_sql(JOB % 4711))
    assert upgrade_schema(filled).after == FILLED
    with pytest.raises(MigrationRefused, match="only a newer one can change it"):
        upgrade_schema(filled, last_revision())


def test_this_program_is_refused_once_it_is_contracted(filled: Database):
    _migrate_next(filled)
    assert current_revision(filled) == CONTRACTED
    with pytest.raises(SchemaMismatch, match="is for servers of version 9002 and newer"):
        check_schema(filled)


def test_the_next_release_works_before_it_is_contracted(filled: Database):
    with next_release():
        assert not check_schema(filled)
        upgrade_schema(filled, ADDED)
        assert not check_schema(filled)
        upgrade_schema(filled, FILLED)
        assert check_schema(filled)


def test_jobs_that_came_after_expanding_are_contracted(filled: Database):
    _migrate_next(filled, expand_only=True)
    filled.write(lambda c: c.exec_driver_sql(JOB % 4711))
    assert _count(filled, "tint IS NULL") == 1
    _migrate_next(filled)
    assert _count(filled, "tint = 'old'") == JOBS + 1
    with pytest.raises(Exception, match="tint"):
        filled.write(lambda c: c.exec_driver_sql(JOB % 4712))


@pytest.mark.slow
def test_what_was_expanded_can_be_taken_back(filled: Database):
    _migrate_next(filled, expand_only=True)
    done = _migrate_next(filled, last_revision())
    assert (done.before, done.after) == (FILLED, last_revision())
    standing = read_standing(filled)
    assert standing.found == standing.own
    assert _count(filled, "lane_id = 2") == JOBS
    with pytest.raises(Exception, match="tint"):
        _count(filled, "tint IS NULL")
    _migrate_next(filled)  # and it can be done again


def test_contracting_is_not_taken_back_and_nothing_touched(filled: Database):
    _migrate_next(filled)
    with pytest.raises(MigrationRefused, match="no way back"):
        _migrate_next(filled, last_revision())
    assert current_revision(filled) == CONTRACTED
    assert _count(filled, "tint = 'old'") == JOBS


def test_a_sqlite_file_is_copied_as_it_was(file: Database, tmp_path: Path):
    done = _migrate_next(file)
    assert done.copy == tmp_path / f"piecework-{last_revision()}.db"
    assert done.copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(done.copy)) as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchall() == [(last_revision(),)]
        assert copy.execute("SELECT count(*) FROM jobs").fetchone() == (JOBS,)
    assert not list(tmp_path.glob("*.part"))


def test_without_room_for_a_copy_nothing_is_migrated(file: Database, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1 << 20))
        with pytest.raises(MigrationRefused, match="no room on the disk for a copy"):
            _migrate_next(file)
        assert current_revision(file) == last_revision()
        assert _migrate_next(file, copies=False).copy is None
    assert current_revision(file) == CONTRACTED


@pytest.mark.integration
def test_contracting_waits_for_the_end_of_older_servers(shared: Database):
    for schema, seen_at in ((last_revision(), NOW), (FILLED, NOW), (None, NOW - FORGOTTEN_AFTER_MS - 1)):
        _claim(shared, schema, seen_at)
    with pytest.raises(MigrationRefused, match=f"9003 .* there are 1 of them .schema {last_revision()}"):
        _migrate_next(shared)
    assert current_revision(shared) == FILLED
    assert check_schema(shared)
    shared.write(lambda c: servers.release_number(c, 0, "server"))
    assert _migrate_next(shared).after == CONTRACTED


@pytest.mark.integration
def test_servers_of_before_0028_count_as_older(shared: Database):
    _migrate_next(shared, expand_only=True)
    _claim(shared, None, NOW)
    with pytest.raises(MigrationRefused, match="schema before 0028"):
        _migrate_next(shared)


@pytest.mark.integration
def test_going_back_waits_for_the_end_of_newer_servers(shared: Database):
    _migrate_next(shared, expand_only=True)
    _claim(shared, CONTRACTED, NOW)
    with pytest.raises(MigrationRefused, match="that is newer than 9001"):
        _migrate_next(shared, last_revision())
    assert current_revision(shared) == FILLED


def _claim(database: Database, schema: str | None, seen_at: int) -> int:
    return database.write(lambda c: servers.claim_number(c, "server", seen_at, schema=schema))


@pytest.mark.integration
def test_an_index_is_made_while_jobs_come(shared: Database):
    _migrate_next(shared, ADDED)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(_plain(shared)) as writer:
        writer.execute("UPDATE jobs SET priority = 1 WHERE id = 1")
        migrating = pool.submit(_migrate_next, shared, FILLED)
        until(lambda: _is_waiting(shared, "CREATE INDEX CONCURRENTLY%"))
        shared.write(lambda c: c.exec_driver_sql(JOB % 4711))
        shared.write(lambda c: c.exec_driver_sql("UPDATE jobs SET priority = 2 WHERE id = 2"))
        writer.commit()
        migrating.result(LONG_S)
    assert _count(shared, "tint = 'old'") == JOBS + 1
    assert _index_is_valid(shared)


@pytest.mark.integration
def test_two_that_migrate_at_once_do_not_stop_each_other(shared: Database):
    both = threading.Barrier(2)

    def migrate() -> Migrated:
        both.wait(LONG_S)
        database = open_database(_plain(shared))
        try:
            return upgrade_schema(database, FILLED)
        finally:
            database.close()

    with next_release(), ThreadPoolExecutor(2) as pool:
        done = [future.result(LONG_S) for future in [pool.submit(migrate) for _ in range(2)]]
    assert sorted(str(each.before) for each in done) == [last_revision(), FILLED]
    assert _index_is_valid(shared)


@pytest.mark.integration
def test_an_index_that_an_earlier_try_left_is_made_anew(shared: Database):
    _migrate_next(shared, ADDED)
    broken = "CREATE UNIQUE INDEX CONCURRENTLY ix_jobs_tint ON jobs (lane_id)"
    with psycopg.connect(_plain(shared), autocommit=True) as own, pytest.raises(psycopg.errors.UniqueViolation):
        own.execute(broken)
    assert not _index_is_valid(shared)
    _migrate_next(shared, FILLED)
    assert _index_is_valid(shared)


@pytest.mark.integration
def test_a_change_without_its_lock_lets_others_through(shared: Database):
    with ThreadPoolExecutor(1) as pool, psycopg.connect(_plain(shared)) as reader:
        reader.execute("SELECT count(*) FROM jobs")
        migrating = pool.submit(_migrate_next, shared, ADDED)
        until(lambda: _is_waiting(shared, "ALTER TABLE jobs ADD%"))
        assert _count(shared, "lane_id = 2") == JOBS  # behind the change, until that gives up
        assert not migrating.done()
        reader.commit()
        migrating.result(LONG_S)
    assert current_revision(shared) == ADDED


@pytest.mark.integration
def test_a_lock_that_is_never_given_is_told(shared: Database, monkeypatch: pytest.MonkeyPatch):
    few = lambda what, work: try_patiently(what, work, 2)  # noqa: E731
    monkeypatch.setattr("piecework.server.store.schema.migrating.try_patiently", few)
    with psycopg.connect(_plain(shared)) as reader:
        reader.execute("SELECT count(*) FROM jobs")
        with pytest.raises(MigrationRefused, match="migration 9001 did not get its locks in 2 tries"):
            _migrate_next(shared, ADDED)
    assert current_revision(shared) == last_revision()
    assert _migrate_next(shared, ADDED).after == ADDED


def test_a_plan_changes_nothing_and_has_its_statements(filled: Database):
    with next_release():
        plan = read_plan(filled)
        dialect = "postgresql" if filled.is_shared else "sqlite"
        added, index, _ = [str(write_sql(plan, step, dialect)) for step in plan.steps]
    assert "ALTER TABLE jobs ADD COLUMN tint TEXT;" in added
    assert re.search("50 rows at a time", index) if filled.is_shared else "CONCURRENTLY" not in index
    assert ("CREATE INDEX CONCURRENTLY" in index) == filled.is_shared
    assert current_revision(filled) == last_revision()


def test_the_url_of_a_database_is_shown_without_secrets():
    shown = show_url("postgresql://ann:geheim@db.example:5433/jobs?sslmode=require&password=auch&sslpassword=so")
    assert shown == "postgresql://ann:***@db.example:5433/jobs?sslmode=require"


def _plain(database: Database) -> str:
    return database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def _is_waiting(database: Database, statement: str) -> bool:
    select = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
    with psycopg.connect(_plain(database)) as connection:
        row = connection.execute(select, (statement,)).fetchone()
    return bool(row and row[0])


def _index_is_valid(database: Database) -> bool:
    with database.read() as connection:
        select = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_jobs_tint'::regclass"
        return bool(connection.exec_driver_sql(select).scalar_one())
