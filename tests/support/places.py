"""Where a server of a test keeps what it stores."""

from dataclasses import dataclass
from pathlib import Path

from piecework.server.store.engine.database import Database, open_database
from piecework.server.store.schema.migrating import upgrade_schema


@dataclass(frozen=True)
class Place:
    """Where a server of one test keeps what it stores; the schema is there already."""

    data: Path
    database_url: str
    """Empty for SQLite in the data directory."""

    def open(self) -> Database:
        url = self.database_url or f"sqlite:///{self.data / 'piecework.db'}"
        return open_database(url, synchronous="OFF")


def migrate(url: str) -> None:
    database = open_database(url, synchronous="OFF")
    upgrade_schema(database)
    database.close()
