"""Lambda rows. Lambdas never change."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, insert, select

from server.store.records import Lambda, LambdaOptions
from server.store.tables import lambdas

_insert = insert(lambdas)
_columns = (
    lambdas.c.id, lambdas.c.codex, lambdas.c.runtime, lambdas.c.name, lambdas.c.options, lambdas.c.created_at
)  # fmt: skip
_by_ids = select(*_columns).where(lambdas.c.id.in_(bindparam("ids", expanding=True)))
_page = (
    select(*_columns)
    .where(lambdas.c.id < bindparam("before"))
    .order_by(lambdas.c.id.desc())
    .limit(bindparam("limit"))
)


def add_lambda(connection: Connection, new: Lambda) -> None:
    options = msgspec.json.encode(new.options).decode()
    connection.execute(
        _insert,
        {
            "id": new.id,
            "codex": new.codex,
            "runtime": new.runtime,
            "name": new.name,
            "options": options,
            "created_at": new.created_at,
        },
    )


def find_lambdas(connection: Connection, ids: set[int]) -> dict[int, Lambda]:
    """Return those of the lambdas that exist, by id."""
    if not ids:
        return {}
    return {row.id: _to_lambda(row) for row in connection.execute(_by_ids, {"ids": sorted(ids)}).all()}


def list_lambdas(connection: Connection, *, before: int, limit: int) -> list[Lambda]:
    """Return lambdas with ids below ``before``, newest first."""
    return [_to_lambda(row) for row in connection.execute(_page, {"before": before, "limit": limit}).all()]


def _to_lambda(row: Row[*tuple[Any, ...]]) -> Lambda:
    options = msgspec.json.decode(row.options, type=LambdaOptions)
    return Lambda(row.id, row.codex, row.runtime, row.name, options, row.created_at)
