"""The schema's version: Alembic's migrations are its only source."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect

from piecework import migrations
from piecework.migrations import versions
from piecework.server.errors import SchemaMismatch
from piecework.server.store.engine.connections import translated_errors
from piecework.server.store.engine.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATION_LOCK = 0x70696563_65776F72
"""Whoever migrates a PostgreSQL database holds this advisory lock."""


def current_revision(database: Database) -> str | None:
    """Return the schema version in the database; None when it is empty."""
    with database.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return None if found is None else str(found)


@cache
def known_revisions() -> list[str]:
    """Return the schema versions that this program knows, oldest first: they begin the names of the migrations."""
    return sorted(module.name.partition("_")[0] for module in iter_modules(versions.__path__))


def compare_revisions(database: Database) -> tuple[str | None, str]:
    """Return the database's version and the program's. Raises SchemaMismatch when the database's is unknown."""
    before, known = current_revision(database), known_revisions()
    if before is not None and before not in known:
        raise SchemaMismatch(
            f"the database has schema version {before}, which this program does not know: a newer piecework"
            f" wrote it (this one knows versions up to {known[-1]}). Install that version, or use another database"
        )
    return before, known[-1]


def upgrade_schema(database: Database) -> tuple[str | None, str]:
    """Bring the database to the program's schema, from nothing or from any older version.

    Returns the version before and after. Safe to repeat. Raises SchemaMismatch when the database is newer than
    the program: an old program must not write to it.
    """
    before, head = compare_revisions(database)
    if before != head:
        with translated_errors(), database.engine.connect() as connection:
            _upgrade(make_config(), connection)
    return before, head


def _upgrade(config: "Config", connection: Connection) -> None:
    """Run the migrations in one transaction: a server that is killed in the middle leaves nothing half done.

    Of several servers that start at once one does it, and the others find nothing to do once they have waited.
    """
    from alembic import command  # noqa: PLC0415  # takes 12 MB, and is needed rarely

    config.attributes["connection"] = connection
    if connection.dialect.name == "sqlite":
        # The engine leaves transactions to us here, and Alembic uses none on SQLite.
        with _no_foreign_keys(connection):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            command.upgrade(config, "head")
            connection.exec_driver_sql("COMMIT")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        command.upgrade(config, "head")
        connection.commit()


@contextmanager
def _no_foreign_keys(connection: Connection) -> Iterator[None]:
    """Let migrations make a table anew that others refer to, as section 7 of SQLite's "ALTER TABLE" says."""
    connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")


def check_schema(database: Database) -> bool:
    """Tell whether the database has the program's schema. Raises SchemaMismatch when it is newer."""
    before, head = compare_revisions(database)
    return before == head


def make_config() -> "Config":
    """Return what Alembic needs to find the migrations."""
    from alembic.config import Config  # noqa: PLC0415  # as above

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return config
