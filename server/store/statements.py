"""Constant statements: SQLAlchemy writes the SQL once for each dialect, the driver gets the values as they are.

What SQLAlchemy does for each execution costs several times what SQLite does for a row, and nothing here needs it:
the columns hold integers, texts and bytes, which drivers take and give unchanged.
"""

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Delete,
    Dialect,
    Insert,
    Select,
    Text,
    Update,
    any_,
    bindparam,
    func,
    literal_column,
    select,
)
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.selectable import CompoundSelect

Row = tuple[Any, ...]
Rows = Sequence[Row]

POSITIONAL = {"sqlite": "qmark", "postgresql": "format"}
"""How each dialect spells parameters that are told by their place."""


class Statement:
    """A statement and the names of its parameters, in the order in which values for them are given.

    An INSERT's names are columns; it sets no others.
    """

    def __init__(
        self, statement: Insert | Update | Delete | Select[Any] | CompoundSelect[Any], *names: str
    ) -> None:
        self.statement = statement
        self._names = names
        self._forms: dict[str, tuple[str, Callable[[Row], Row]]] = {}

    def rows(self, connection: Connection, *values: object) -> Rows:
        """Return all rows of a SELECT."""
        return self._execute(connection, values).fetchall()  # type: ignore[no-any-return]

    def row(self, connection: Connection, *values: object) -> Row | None:
        """Return the first row of a SELECT; None when there is none."""
        return next(iter(self.rows(connection, *values)), None)

    def value(self, connection: Connection, *values: object) -> Any:
        """Return the first value of the first row; None when there is no row."""
        row = self.row(connection, *values)
        return row[0] if row else None

    def run(self, connection: Connection, *values: object) -> int:
        """Run an INSERT, UPDATE or DELETE. Returns how many rows it changed."""
        return self._execute(connection, values).rowcount  # type: ignore[no-any-return]

    def run_many(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Run an INSERT, UPDATE or DELETE once for each row of values; nothing happens when there are none."""
        if not rows:
            return
        sql, order = self._form(connection.dialect)
        ordered = [order(row) for row in rows]
        if connection.dialect.name == "sqlite":
            _driver(connection).executemany(sql, ordered)
        else:
            connection.exec_driver_sql(sql, ordered)

    def _execute(self, connection: Connection, values: Row) -> Any:
        sql, order = self._form(connection.dialect)
        if connection.dialect.name == "sqlite":
            return _driver(connection).execute(sql, order(values))
        return connection.exec_driver_sql(sql, order(values))

    def _form(self, dialect: Dialect) -> tuple[str, Callable[[Row], Row]]:
        """Return the SQL for a dialect, and what brings values into the order of its parameters."""
        if dialect.name not in self._forms:
            self._forms[dialect.name] = self._compile(dialect)
        return self._forms[dialect.name]

    def _compile(self, dialect: Dialect) -> tuple[str, Callable[[Row], Row]]:
        make_dialect: Any = type(dialect)
        compiled = self.statement.compile(
            dialect=make_dialect(paramstyle=POSITIONAL[dialect.name]),
            column_keys=self._names if isinstance(self.statement, Insert) else None,
        )
        assert isinstance(compiled, SQLCompiler)
        places = compiled.positiontup or []
        if tuple(places) == self._names:
            return str(compiled), _as_given
        constants = compiled.construct_params(dict.fromkeys(self._names))
        fixed = tuple(constants[name] for name in places if name not in self._names)
        names = [*self._names, *(name for name in places if name not in self._names)]
        pick = itemgetter(*(names.index(name) for name in places))
        return str(compiled), lambda values: pick((*values, *fixed))


class ByList:
    """A SELECT of the rows whose column is in a list. Its text does not depend on how long the list is."""

    def __init__(
        self, statement: Select[Any], column: ColumnElement[Any], type_: type[int] | type[str] = int
    ) -> None:
        listed: Select[Any] = select(literal_column("value")).select_from(func.json_each(bindparam("list")))
        self._sqlite = Statement(statement.where(column.in_(listed)), "list")
        array = bindparam("list", type_=ARRAY(BigInteger if type_ is int else Text))
        self._type = type_
        self._postgres = Statement(statement.where(column == any_(array)), "list")

    def rows(self, connection: Connection, wanted: Iterable[Any]) -> Rows:
        """Return the rows that there are; in the order of the statement, not of the list."""
        values = sorted({self._type(value) for value in wanted})
        if not values:
            return []
        if connection.dialect.name == "sqlite":
            return self._sqlite.rows(connection, to_json(values))
        return self._postgres.rows(connection, values)


def to_json(value: object) -> str | None:
    """Write a value for a text column; None stays NULL."""
    return None if value is None else msgspec.json.encode(value).decode()


def _as_given(values: Row) -> Row:
    return values


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection
