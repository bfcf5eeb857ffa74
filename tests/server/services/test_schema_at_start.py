"""The schema that a server finds when it starts, or makes."""

from pathlib import Path

import pytest
from alembic import command
from house import House
from next_release import FILLED, last_revision, next_release
from places import Place
from structlog.testing import capture_logs

from piecework.server.errors import SchemaMismatch
from piecework.server.services.schema_at_start import prepare_schema
from piecework.server.store.engine.database import Database, open_database
from piecework.server.store.schema import migrating, revisions, standing as schema


@pytest.mark.slow
def test_an_empty_database_may_be_given_its_schema_by_another_server_meanwhile(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
):
    look = schema.current_revision

    def look_just_before_the_other_is_done(database: Database) -> str | None:
        monkeypatch.undo()
        found = look(database)
        migrating.upgrade_schema(database)
        return found

    monkeypatch.setattr(schema, "current_revision", look_just_before_the_other_is_done)
    database = open_database(empty_url, synchronous="OFF")
    prepare_schema(database)
    assert schema.check_schema(database)
    database.close()


@pytest.mark.slow
def test_an_older_schema_is_upgraded_unless_other_servers_may_use_it(empty_url: str):
    database = open_database(empty_url, synchronous="OFF")
    with database.engine.connect() as connection:
        config = migrating.make_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revisions.known_revisions()[0])
        connection.commit()
    if database.is_shared:
        with pytest.raises(SchemaMismatch, match="stop its servers and run `piecework server migrate`"):
            prepare_schema(database)
    else:
        prepare_schema(database)
    assert schema.check_schema(database) is not database.is_shared
    database.close()


@pytest.mark.slow
def test_the_log_says_what_was_migrated(empty_url: str):
    database = open_database(empty_url, synchronous="OFF")
    with capture_logs() as logs:
        prepare_schema(database)
        prepare_schema(database)
    [line] = logs
    assert (line["event"], line["before"], line["after"]) == ("migrated the schema", "none", last_revision())
    assert line["took_s"] >= 0
    database.close()


def test_a_server_may_expand_where_others_work(database: Database):
    with next_release():
        standing = prepare_schema(database, "expand")
        assert (standing.found, standing.is_usable) == (FILLED, True)
    assert prepare_schema(database, "expand").is_newer
    with next_release():
        migrating.upgrade_schema(database, last_revision())
    assert schema.current_revision(database) == last_revision()


@pytest.mark.slow
def test_a_server_that_may_not_migrate_says_what_to_do(empty_url: str):
    database = open_database(empty_url, synchronous="OFF")
    with pytest.raises(SchemaMismatch, match="the database is empty: run `piecework server migrate`"):
        prepare_schema(database, "never")
    migrating.upgrade_schema(database)
    prepare_schema(database, "never")
    with (
        next_release(),
        pytest.raises(SchemaMismatch, match="migrate --expand-only`, also while its servers work"),
    ):
        prepare_schema(database, "never")
    assert schema.current_revision(database) == last_revision()
    database.close()


@pytest.mark.integration
def test_servers_tell_their_schema_until_they_end(postgres_place: Place, tmp_path: Path):
    house = House(tmp_path / "data", database_url=postgres_place.database_url)
    with house.services.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT schema FROM servers").scalars().all()
    assert rows == [last_revision()]
    house.close()
    left = postgres_place.open()
    with left.read() as connection:
        assert connection.exec_driver_sql("SELECT schema FROM servers").scalars().all() == []
    left.close()
