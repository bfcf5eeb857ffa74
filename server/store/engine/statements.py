"""Constant statements: SQLAlchemy writes the SQL once for each dialect, the driver gets the values as they are.

What SQLAlchemy does for each execution costs several times what a database does for a row, and nothing here needs
it: the columns hold integers, texts and bytes, which drivers take and give unchanged.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Delete,
    Dialect,
    Insert,
    Select,
    String,
    Text,
    Update,
    any_,
    bindparam,
    func,
    insert,
    literal,
    literal_column,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import CompoundSelect
from sqlalchemy.types import TypeEngine

from piecework.server.store.engine.connections import OpenConnection

Row = tuple[Any, ...]
Rows = Sequence[Row]

POSITIONAL = {"sqlite": "qmark", "postgresql": "format"}
"""How each dialect spells parameters that are told by their place."""


HOW: dict[str, dict[str, bool]] = {"sqlite": {}, "postgresql": {"prepare": True, "binary": True}}
"""What each driver is told beside a statement and its values."""


class _Form(NamedTuple):
    """A statement as the driver of one dialect gets it."""

    sql: str
    order: Callable[[Row], Row]
    """Brings values into the order of its parameters."""
    how: Mapping[str, bool]


class Statement:
    """A statement and the names of its parameters, in the order in which values for them are given.

    An INSERT's names are columns; it sets no others.
    """

    def __init__(
        self, statement: Insert | Update | Delete | Select[Any] | CompoundSelect[Any], *names: str
    ) -> None:
        self.statement = statement
        self._names = names
        self._forms: dict[str, _Form] = {}
        self._many: Statement | None = None

    def rows(self, connection: Connection, *values: object) -> Rows:
        """Return all rows of a SELECT."""
        return self._execute(connection, values).fetchall()  # type: ignore[no-any-return]

    def row(self, connection: Connection, *values: object) -> Row | None:
        """Return the first row of a SELECT; None when there is none."""
        return next(iter(self._execute(connection, values).fetchall()), None)

    def value(self, connection: Connection, *values: object) -> Any:
        """Return the first value of the first row; None when there is no row."""
        row = self.row(connection, *values)
        return row[0] if row else None

    def run(self, connection: Connection, *values: object) -> int:
        """Run an INSERT, UPDATE or DELETE. Returns how many rows it changed."""
        return self._execute(connection, values).rowcount  # type: ignore[no-any-return]

    def run_many(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Run an INSERT, UPDATE or DELETE once for each row of values; nothing happens when there are none.

        No two of the rows may change the same one in the table. Returns how many rows it changed.
        """
        if not rows:
            return 0
        if connection.dialect.name == "sqlite":
            form = self._form(connection.dialect)
            changed: int = driver_of(connection).executemany(form.sql, map(form.order, rows)).rowcount
            return changed
        return self._for_arrays(connection.dialect).run(connection, *map(to_array, zip(*rows, strict=True)))

    def _execute(self, connection: Connection, values: Row) -> Any:
        form = self._forms.get(connection.dialect.name) or self._form(connection.dialect)
        return driver_of(connection).execute(form.sql, form.order(values), **form.how)

    def _form(self, dialect: Dialect) -> "_Form":
        """Return how the statement is told to the driver of a dialect."""
        if dialect.name not in self._forms:
            self._forms[dialect.name] = _Form(*self._arrange(self._compile(dialect)), HOW[dialect.name])
        return self._forms[dialect.name]

    def _compile(self, dialect: Dialect) -> SQLCompiler:
        make_dialect: Any = type(dialect)
        is_row = isinstance(self.statement, Insert) and self.statement.select is None
        compiled = self.statement.compile(
            dialect=make_dialect(paramstyle=POSITIONAL[dialect.name]),
            column_keys=self._names if is_row else None,
        )
        assert isinstance(compiled, SQLCompiler)
        return compiled

    def _arrange(self, compiled: SQLCompiler) -> tuple[str, Callable[[Row], Row]]:
        places = compiled.positiontup or []
        if tuple(places) == self._names:
            return str(compiled), tuple
        constants = compiled.construct_params(dict.fromkeys(self._names))
        fixed = tuple(constants[name] for name in places if name not in self._names)
        names = [*self._names, *(name for name in places if name not in self._names)]
        if names == places:
            return str(compiled), lambda values: (*values, *fixed)
        pick = itemgetter(*(names.index(name) for name in places))
        return str(compiled), (lambda values: pick((*values, *fixed))) if fixed else pick

    def _for_arrays(self, dialect: Dialect) -> "Statement":
        """Return this statement for many rows at once: each of its parameters is an array."""
        if self._many is None:
            binds = self._compile(dialect).binds
            arrays = (bindparam(name, type_=ARRAY(_unbounded(binds[name].type))) for name in self._names)
            given = func.unnest(*arrays).table_valued(*self._names).render_derived("given")

            def replace(element: object, **_: object) -> object:
                name = element.key if isinstance(element, BindParameter) else None
                return given.c[name] if name in self._names else None

            if isinstance(self.statement, Insert):
                many: Any = insert(self.statement.table).from_select(self._names, select(given))
            else:
                many = visitors.replacement_traverse(self.statement, {}, replace)
            self._many = Statement(many, *self._names)
        return self._many


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
        return self._postgres.rows(connection, to_array(values))


def is_listed(connection: Connection, column: ColumnElement[Any], ids: Sequence[int]) -> ColumnElement[bool]:
    """Return the condition that a column of integers is in a list. Databases look each of them up."""
    if connection.dialect.name == "sqlite":
        return column.in_(select(literal_column("value")).select_from(func.json_each(to_json(ids))))
    return column == any_(literal(list(ids), ARRAY(BigInteger)))


def to_json(value: object) -> str | None:
    """Write a value for a text column; None stays NULL."""
    return None if value is None else msgspec.json.encode(value).decode()


def without_nul(text: str | None) -> str | None:
    """Guests and clients may say anything, but PostgreSQL takes no NUL in a text."""
    return text.replace("\0", "\ufffd") if text else text


def _unbounded(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """Leave a text's length to the column: a cast to VARCHAR(n) would cut what is longer, not refuse it."""
    return Text() if isinstance(type_, String) else type_


def to_array(values: Iterable[object]) -> str:
    """Write PostgreSQL's literal of an array of integers, texts or bytes."""
    return "{" + ",".join(map(_to_element, values)) + "}"


def _to_element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, bytes):
        return '"\\\\x' + value.hex() + '"'
    return str(value)


def driver_of(connection: Connection) -> Any:
    """Return the driver's own connection."""
    if isinstance(connection, OpenConnection):
        return connection.driver
    return connection.connection.driver_connection


class ListOfArgs(FunctionElement[str]):
    """The arguments in the options of a job, as the JSON text of a list; NULL where there are none.

    Nothing else of the options: what stands in the environment may be secret.
    """

    type = Text()
    inherit_cache = True


@compiles(ListOfArgs, "sqlite")
def _list_args_sqlite(element: ListOfArgs, compiler: SQLCompiler, **more: Any) -> str:
    return f"json_extract({compiler.process(element.clauses, **more)}, '$.args')"


@compiles(ListOfArgs, "postgresql")
def _list_args_postgres(element: ListOfArgs, compiler: SQLCompiler, **more: Any) -> str:
    return f"(CAST({compiler.process(element.clauses, **more)} AS json) ->> 'args')"
