"""The schema that a server finds when it starts, or makes."""

import pytest
from alembic import command

from piecework.server.errors import SchemaMismatch
from piecework.server.services.schema_at_start import prepare_schema
from piecework.server.store.engine import migrating, revisions, schema
from piecework.server.store.engine.database import Database, open_database


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
