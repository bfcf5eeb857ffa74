"""The schema and its migrations."""

import re
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from places import migrate
from rows import blob
from sqlalchemy import text

from piecework.server.errors import SchemaMismatch
from piecework.server.services.queue.lifecycle.trails import tell_trail
from piecework.server.store.engine.database import Connection, Database, open_database
from piecework.server.store.engine.tables.functions import metadata
from piecework.server.store.queue.figures import events
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.records import Job
from piecework.server.store.schema import migrating
from piecework.server.store.schema.migrating import upgrade_schema
from piecework.server.store.schema.revisions import known_revisions
from piecework.server.store.schema.standing import check_schema, current_revision
from piecework.server.store.stock import blobs, lambdas

pytestmark = pytest.mark.filterwarnings("ignore:.*expression-based index")
"""SQLAlchemy cannot read such indexes of SQLite; ``test_an_upgrade_of_sqlite…`` compares their texts."""


SQLITE_ALONE = {"ix_jobs_enqueued"}
"""Indexes that PostgreSQL has not: alembic asks for them anyway."""


def find_differences(database: Database, **options: Any) -> list[Any]:
    """Return what is not alike in a database and in the tables that statements name."""
    with database.engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        left_out = SQLITE_ALONE if connection.dialect.name == "postgresql" else set()
    return [each for each in found if each[0] != "add_index" or each[1].name not in left_out]


@pytest.mark.slow
def test_the_migrations_make_exactly_the_tables_that_statements_name(database: Database):
    assert find_differences(database, compare_type=True) == []


def test_the_names_of_the_migrations_tell_their_versions_in_order():
    script = ScriptDirectory.from_config(migrating.make_config())
    assert known_revisions() == [revision.revision for revision in script.walk_revisions()][::-1]


def test_the_check_constraints_are_there(database: Database):
    with database.read() as connection:
        if connection.dialect.name == "sqlite":
            table = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'jobs'").scalar()
            found = {name for name in _check_names() if name in table}
        else:
            rows = connection.exec_driver_sql("SELECT conname FROM pg_constraint WHERE contype = 'c'")
            found = {row.conname for row in rows} & _check_names()
    assert found == _check_names()


def _check_names() -> set[str]:
    return {f"ck_jobs_{name}" for name in ("state", "final", "leased", "waiting", "waits", "attempts")}


def test_upgrading_a_current_database_changes_nothing(database: Database):
    database.write(lambda c: blobs.add_blobs(c, [blob(1)]))
    done = upgrade_schema(database)
    assert done.before == done.after
    with database.read() as connection:
        assert blobs.find_blob(connection, 1) is not None


@pytest.mark.slow
def test_a_new_database_is_empty_until_upgraded(tmp_path: Path):
    database = open_database(f"sqlite:///{tmp_path / 'new.db'}", synchronous="OFF")
    assert current_revision(database) is None
    assert not check_schema(database)
    assert upgrade_schema(database).before is None
    assert check_schema(database)
    database.close()


@pytest.mark.slow
def test_an_older_database_is_upgraded_with_what_is_in_it(empty_url: str):
    old = open_database(empty_url, synchronous="OFF")
    with old.engine.connect() as connection:
        config = migrating.make_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.commit()
    old.write(lambda c: [c.exec_driver_sql(statement) for statement in OLD_ROWS])
    with old.engine.begin() as connection:
        values = {"digest": blob(7).sha256}
        added = text("INSERT INTO blobs (id, sha256, size, created_at) VALUES (7, :digest, 5, 1)")
        connection.execute(added, values)
    old.close()
    migrate(empty_url)
    database = open_database(empty_url, synchronous="OFF")
    with database.read() as connection:
        assert [(e.state, e.detail) for e in events.list_events(connection, 5)] == [("Enqueued", "submitted")]
        ended = events.list_events(connection, 6)
        assert [e.state for e in tell_trail(_read(connection, 6), ended)] == ["Waiting", "Running", "Finished"]
        trail = tell_trail(_read(connection, 5), events.list_events(connection, 5))
        assert [(e.state, e.at, e.lease) for e in trail] == [("Enqueued", 1, None), ("Running", 2, "L")]
        by_code = lambdas.find_by_code(connection, blob(7).sha256, limit=9)
        assert [(each.id, each.name) for each in by_code] == [(3, "an old name")]
    assert find_differences(database) == []
    database.close()


@pytest.mark.slow
def test_an_upgrade_of_sqlite_leaves_the_indexes_as_a_new_database_has_them(tmp_path: Path):
    urls = [f"sqlite:///{tmp_path / name}" for name in ("old.db", "new.db")]
    old, new = (open_database(url, synchronous="OFF") for url in urls)
    with old.engine.connect() as connection:
        config = migrating.make_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    before = _indexes(old)
    del before["ix_jobs_due"]  # another one since jobs wait for something other than a time, too
    upgrade_schema(old)
    upgrade_schema(new)
    assert _indexes(old) == _indexes(new)
    assert before.keys() <= _indexes(new).keys()
    with new.read() as connection:
        table = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'jobs'").scalar_one()
    assert sorted(re.findall(r"CONSTRAINT (ck_\w+)", table)) == sorted(_check_names())
    assert " IN (" not in table
    old.close()
    new.close()


OLD_ROWS = (
    "INSERT INTO lambdas (id, codex, runtime, options, created_at) VALUES (1, 0, 'wasi', '{}', 1)",
    ("INSERT INTO lambdas (id, codex, runtime, name, options, created_at)"
    " VALUES (3, 7, 'wasi', 'an old name', '{}', 1)"),
    "INSERT INTO lanes (id, runtime, necessary, rejected) VALUES (2, 'wasi', '[]', '[]')",
    *(
        "INSERT INTO jobs (id, lambda_id, lane_id, state, priority, input_id, attempt, max_attempts, vanished,"
        f" created_at, started_at, lease, lease_kind, lease_until, worker_id, finished_at) VALUES ({values})"
        for values in (
            "5, 1, 2, 'Running', 0, 0, 1, 3, 0, 1, 2, 'L', 'fenced', 99, 9, NULL",
            "6, 1, 2, 'Finished', 0, 0, 1, 3, 0, 1, 2, NULL, NULL, NULL, 9, 4",
        )
    ),
    *(
        f"INSERT INTO events (job_id, at, state, worker_id, attempt, lease, detail) VALUES ({values}, '')"
        for values in (
            "6, 1, 'Waiting', NULL, 0, NULL", "5, 1, 'Enqueued', NULL, 0, NULL", "5, 2, 'Running', 9, 1, 'L'",
            "6, 2, 'Running', 9, 1, 'M'", "6, 4, 'Finished', 9, 1, 'M'",
        )
    ),
)  # fmt: skip


def _read(connection: Connection, id_: int) -> Job:
    job = jobs.find_job(connection, id_)
    assert job is not None
    return job


def _indexes(database: Database) -> dict[str, str]:
    with database.read() as connection:
        return dict(connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'index'").all())


def test_a_newer_database_is_refused_and_left_alone(database: Database):
    known = current_revision(database)
    try:
        database.write(lambda c: c.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))
        for look in (check_schema, upgrade_schema):
            with pytest.raises(SchemaMismatch, match="schema version 9999, which this program does not know"):
                look(database)
        assert current_revision(database) == "9999"
    finally:
        database.write(lambda c: c.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{known}'"))


@pytest.mark.slow
def test_a_migration_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    database = open_database(f"sqlite:///{tmp_path / 'new.db'}", synchronous="OFF")
    whole = command.upgrade

    def broken(*args: object) -> None:
        whole(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", broken)
        with pytest.raises(KeyboardInterrupt):
            upgrade_schema(database)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 0
    upgrade_schema(database)
    assert check_schema(database)
    database.close()
