"""The schema's version: Alembic's migrations are its only source."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

import migrations
from server.errors import SchemaMismatch
from server.store.database import translated_errors


def current_revision(engine: Engine) -> str | None:
    """Return the schema version in the database; None when it is empty."""
    with translated_errors(), engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade_schema(engine: Engine) -> tuple[str | None, str]:
    """Bring the database to the program's schema, from nothing or from any older version.

    Returns the version before and after. Safe to repeat. Raises SchemaMismatch when the database is newer than
    the program: an old program must not write to it.
    """
    config = _config()
    before, head = _known_revision(engine, ScriptDirectory.from_config(config))
    if before != head:
        try:
            with translated_errors(), engine.connect() as connection:
                _upgrade(config, connection)
        except DBAPIError:
            if current_revision(engine) != head:  # else another server that starts now was quicker
                raise
    return before, head


def _upgrade(config: Config, connection: Connection) -> None:
    """Run the migrations in one transaction: a server that is killed in the middle leaves nothing half done."""
    config.attributes["connection"] = connection
    if connection.dialect.name == "sqlite":
        # The engine leaves transactions to us here, and Alembic uses none on SQLite.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        command.upgrade(config, "head")
        connection.exec_driver_sql("COMMIT")
    else:
        command.upgrade(config, "head")


def check_schema(engine: Engine) -> bool:
    """Tell whether the database has the program's schema. Raises SchemaMismatch when it is newer."""
    before, head = _known_revision(engine, ScriptDirectory.from_config(_config()))
    return before == head


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return config


def _known_revision(engine: Engine, script: ScriptDirectory) -> tuple[str | None, str]:
    """Return the database's version and the program's. Raises SchemaMismatch when the database's is unknown."""
    before, head = current_revision(engine), script.get_current_head()
    assert head is not None
    if before is not None and before not in {revision.revision for revision in script.walk_revisions()}:
        raise SchemaMismatch(
            f"the database has schema version {before}, which this program does not know: a newer piecework"
            f" wrote it (this one knows versions up to {head}). Install that version, or use another database"
        )
    return before, head
