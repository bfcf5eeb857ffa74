"""SQL that is written once for all databases of a test run.

SQLAlchemy keeps the SQL of each statement with the engine. A server has one engine for its whole life; tests open
thousands.
"""

from typing import Any

from sqlalchemy import Connection, Engine, event


class SharedStatements(dict[tuple[object, ...], Any]):
    """Compiled statements by what they are and the kind of database, whichever the engine."""

    def get(self, key: tuple[Any, ...], default: Any = None) -> Any:
        return super().get((key[0].name, *key[1:]), default)

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        super().__setitem__((key[0].name, *key[1:]), compiled)


def share_statements() -> None:
    """Have every connection of this process, from now on, take its SQL from the same place."""
    statements = SharedStatements()

    @event.listens_for(Engine, "engine_connect")
    def take_shared(connection: Connection) -> None:
        connection.execution_options(compiled_cache=statements)
