"""Lambda rows. Lambdas never change."""

from functools import partial

import msgspec
from sqlalchemy import Connection, bindparam, insert, select

from server.store.engine.ids import read_newest
from server.store.engine.statements import ByList, Row, Statement, to_json
from server.store.engine.tables import lambdas
from server.store.records import Lambda, LambdaOptions

_columns = (
    lambdas.c.id, lambdas.c.codex, lambdas.c.runtime, lambdas.c.name, lambdas.c.options, lambdas.c.created_at
)  # fmt: skip
_insert = Statement(insert(lambdas), *(column.name for column in _columns))
_by_ids = ByList(select(*_columns), lambdas.c.id)
_page = Statement(
    select(*_columns)
    .where(lambdas.c.id > bindparam("above"), lambdas.c.id < bindparam("below"))
    .order_by(lambdas.c.id.desc())
    .limit(bindparam("limit")),
    "above", "below", "limit",
)  # fmt: skip


def add_lambda(connection: Connection, new: Lambda) -> None:
    _insert.run(connection, new.id, new.codex, new.runtime, new.name, to_json(new.options), new.created_at)


def find_lambdas(connection: Connection, ids: set[int]) -> dict[int, Lambda]:
    """Return those of the lambdas that exist, by id."""
    return {row[0]: _to_lambda(row) for row in _by_ids.rows(connection, ids)}


def list_lambdas(connection: Connection, *, before: int, limit: int) -> list[Lambda]:
    """Return lambdas that are older than ``before``, newest first."""
    return [_to_lambda(row) for row in read_newest(partial(_page.rows, connection), before, limit)]


def _to_lambda(row: Row) -> Lambda:
    id_, codex, runtime, name, options, created_at = row
    return Lambda(id_, codex, runtime, name, msgspec.json.decode(options, type=LambdaOptions), created_at)
