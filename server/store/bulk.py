"""Constant statements for many rows at once, to write them and to read them by id.

SQLAlchemy builds the SQL text, once for each dialect. The rows go to the driver as they are, because its work per
row and parameter costs more than SQLite's own.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Dialect,
    Insert,
    Row,
    Select,
    Update,
    any_,
    bindparam,
    func,
    literal_column,
    select,
)
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


class ManyById:
    """A SELECT of the rows whose ids are in a list. Its text does not depend on how long the list is."""

    def __init__(self, statement: Select[Any], id_column: ColumnElement[int]) -> None:
        listed: Select[Any] = select(literal_column("value")).select_from(func.json_each(bindparam("ids")))
        self._sqlite = statement.where(id_column.in_(listed))
        self._postgres = statement.where(id_column == any_(bindparam("ids", type_=ARRAY(BigInteger))))

    def rows(self, connection: Connection, ids: Iterable[int]) -> Sequence[Row[*tuple[Any, ...]]]:
        """Return the rows that there are; in the order of the statement, not of the ids."""
        wanted = sorted({int(id_) for id_ in ids})
        if not wanted:
            return []
        if connection.dialect.name == "sqlite":
            return connection.execute(self._sqlite, {"ids": f"[{','.join(map(str, wanted))}]"}).all()
        return connection.execute(self._postgres, {"ids": wanted}).all()
