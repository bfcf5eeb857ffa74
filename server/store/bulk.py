"""Constant statements that are run for many rows at once.

SQLAlchemy builds the SQL text, once for each dialect. The rows go to the driver as they are, because its work per
row and parameter costs more than SQLite's own.
"""

from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Insert, Update
from sqlalchemy.sql.compiler import SQLCompiler

POSITIONAL = {"sqlite": "qmark", "postgresql": "format"}
"""How each dialect spells parameters that are told by their place."""


class Bulk:
    """A statement and the names of its parameters in the order in which rows bring them."""

    def __init__(self, statement: Insert | Update, *names: str) -> None:
        self._statement = statement
        self._names = names
        self._compile = lru_cache(maxsize=4)(self._compile_for)

    def run(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run the statement once for each row; nothing happens when there are none."""
        if rows:
            sql, order = self._compile(connection.dialect)
            connection.exec_driver_sql(sql, [order(row) for row in rows])

    def _compile_for(self, dialect: Dialect) -> tuple[str, "itemgetter[Any]"]:
        make_dialect: Any = type(dialect)
        positional = make_dialect(paramstyle=POSITIONAL[dialect.name])
        keys = self._names if isinstance(self._statement, Insert) else None
        compiled = self._statement.compile(dialect=positional, column_keys=keys)
        assert isinstance(compiled, SQLCompiler)
        assert compiled.positiontup is not None
        return str(compiled), itemgetter(*(self._names.index(name) for name in compiled.positiontup))
