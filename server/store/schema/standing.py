"""The schema's version in the database: Alembic's, and beside it which older programs may use it."""

from dataclasses import dataclass

from sqlalchemy import Connection, inspect

from piecework.server.errors import SchemaMismatch
from piecework.server.store.engine.database import Database
from piecework.server.store.schema.revisions import known_revisions, list_pending, may_wait


@dataclass(frozen=True)
class Standing:
    """How the database's schema and the program's stand to each other."""

    found: str | None
    """The database's version; None when it is empty."""
    own: str
    """The program's version."""

    @property
    def is_newer(self) -> bool:
        """Whether a newer program migrated the database, in a way that lets this one use it."""
        return self.found is not None and self.found > self.own

    @property
    def is_usable(self) -> bool:
        """Whether this program may use the database as it is."""
        if self.found is None:
            return False
        return self.found >= self.own or may_wait(self.found, list_pending(self.found))


def current_revision(database: Database) -> str | None:
    """Return the schema version in the database; None when it is empty."""
    with database.read() as connection:
        return read_revision(connection)


def read_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def read_standing(database: Database) -> Standing:
    """Compare the database's version with the program's.

    Raises SchemaMismatch when the database's is newer and does not say that this program may use it.
    """
    found, own = current_revision(database), known_revisions()[-1]
    if found is None or found == own:
        return Standing(found, own)
    with database.read() as connection:
        contract = _read_contract(connection)
    if contract is not None and contract[1] > own:
        raise SchemaMismatch(
            f"the database has schema version {found}, which is for servers of version {contract[1]} and newer"
            f" (this one has {own}). Install a newer piecework, or use another database"
        )
    if found not in known_revisions() and (contract is None or contract[0] < found):
        raise SchemaMismatch(
            f"the database has schema version {found}, which this program does not know: a newer piecework"
            f" wrote it (this one knows versions up to {own}). Install that version, or use another database"
        )
    return Standing(found, own)


def check_schema(database: Database) -> bool:
    """Tell whether this program may use the database as it is. Raises SchemaMismatch when that is too new."""
    return read_standing(database).is_usable


def _read_contract(connection: Connection) -> tuple[str, str] | None:
    """Return the newest version that this was written for, and the oldest that may use it."""
    if not inspect(connection).has_table("schema_contract"):
        return None
    row = connection.exec_driver_sql("SELECT revision, oldest FROM schema_contract").first()
    return None if row is None else (row.revision, row.oldest)


def write_contract(connection: Connection, revision: str, oldest: str) -> None:
    """Have the database say from which version on programs may use it; those before 0028 ask nobody."""
    if inspect(connection).has_table("schema_contract"):
        connection.exec_driver_sql("DELETE FROM schema_contract")
        values = f"('{revision}', '{oldest}')"  # of names of migrations: no text of others
        connection.exec_driver_sql(f"INSERT INTO schema_contract (revision, oldest) VALUES {values}")  # noqa: S608
