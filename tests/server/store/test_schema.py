"""The schema and its migrations."""

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from rows import blob

from server.errors import SchemaMismatch
from server.store import blobs, schema
from server.store.database import Database, open_database
from server.store.schema import check_schema, current_revision, upgrade_schema
from server.store.tables import metadata


def test_the_migrations_make_exactly_the_tables_that_statements_name(database: Database):
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_check_constraints_are_there(database: Database):
    with database.read() as connection:
        if connection.dialect.name == "sqlite":
            text = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'jobs'").scalar()
            found = {name for name in _check_names() if name in text}
        else:
            rows = connection.exec_driver_sql("SELECT conname FROM pg_constraint WHERE contype = 'c'")
            found = {row.conname for row in rows} & _check_names()
    assert found == _check_names()


def _check_names() -> set[str]:
    return {f"ck_jobs_{name}" for name in ("state", "final", "leased", "waiting", "attempts")}


def test_upgrading_a_current_database_changes_nothing(database: Database):
    database.write(lambda c: blobs.add_blobs(c, [blob(1)]))
    before, after = upgrade_schema(database.engine)
    assert before == after
    with database.read() as connection:
        assert blobs.find_blob(connection, 1) is not None


def test_a_new_database_is_empty_until_upgraded(tmp_path: Path):
    database = open_database(f"sqlite:///{tmp_path / 'new.db'}", synchronous="OFF")
    assert current_revision(database.engine) is None
    assert not check_schema(database.engine)
    assert upgrade_schema(database.engine)[0] is None
    assert check_schema(database.engine)
    database.close()


def test_a_newer_database_is_refused_and_left_alone(database: Database):
    known = current_revision(database.engine)
    try:
        database.write(lambda c: c.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))
        for look in (check_schema, upgrade_schema):
            with pytest.raises(SchemaMismatch, match="schema version 9999, which this program does not know"):
                look(database.engine)
        assert current_revision(database.engine) == "9999"
    finally:
        database.write(lambda c: c.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{known}'"))


def test_a_migration_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    database = open_database(f"sqlite:///{tmp_path / 'new.db'}", synchronous="OFF")
    whole = command.upgrade

    def broken(*args: object) -> None:
        whole(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(schema.command, "upgrade", broken)
        with pytest.raises(KeyboardInterrupt):
            upgrade_schema(database.engine)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 0
    upgrade_schema(database.engine)
    assert check_schema(database.engine)
    database.close()
