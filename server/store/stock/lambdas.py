"""Lambda rows. Lambdas never change."""

from collections.abc import Iterable
from functools import partial

import msgspec
from sqlalchemy import Connection, bindparam, insert, literal_column, select, update

from piecework.protocol.ids import ID_MAX
from piecework.server.store.engine.ids import read_newest
from piecework.server.store.engine.statements import ByList, Row, Statement, to_json
from piecework.server.store.engine.tables import lambdas
from piecework.server.store.engine.tables.functions import revisions
from piecework.server.store.options import LambdaOptions
from piecework.server.store.records import Lambda

_columns = (
    lambdas.c.id, lambdas.c.codex, lambdas.c.runtime, lambdas.c.name, lambdas.c.options, lambdas.c.created_at,
    lambdas.c.codex_sha256, lambdas.c.deleted_at,
)  # fmt: skip
_insert = Statement(insert(lambdas), *(column.name for column in _columns))
_kept = lambdas.c.deleted_at.is_(None)
_by_ids = ByList(select(*_columns), lambdas.c.id)
_page = Statement(
    select(*_columns)
    .where(lambdas.c.id > bindparam("above"), lambdas.c.id < bindparam("below"), _kept)
    .order_by(lambdas.c.id.desc())
    .limit(bindparam("limit")),
    "above", "below", "limit",
)  # fmt: skip
_page_of_name = Statement(
    select(*_columns)
    .where(
        lambdas.c.name == bindparam("which"),
        lambdas.c.id > bindparam("above"),
        lambdas.c.id < bindparam("below"),
        _kept,
    )
    .order_by(lambdas.c.id.desc())
    .limit(bindparam("limit")),
    "which", "above", "below", "limit",
)  # fmt: skip
_by_code = Statement(
    select(*_columns)
    .where(
        lambdas.c.codex_sha256 == bindparam("digest"),
        lambdas.c.id > bindparam("above"),
        lambdas.c.id < bindparam("below"),
        _kept,
    )
    .order_by(lambdas.c.id.desc())
    .limit(bindparam("limit")),
    "digest", "above", "below", "limit",
)  # fmt: skip
_ids_by_name = Statement(select(lambdas.c.id).where(lambdas.c.name == bindparam("which")), "which")
_of_runtime = Statement(
    select(lambdas.c.id).where(lambdas.c.runtime == bindparam("name")).limit(literal_column("1")), "name"
)
_names = ByList(select(lambdas.c.id, lambdas.c.name), lambdas.c.id)

_mark = Statement(
    update(lambdas).where(lambdas.c.id == bindparam("which"), _kept).values(deleted_at=bindparam("at")),
    "which", "at",
)  # fmt: skip
_revision = Statement(
    select(revisions.c.function, revisions.c.name).where(revisions.c.lambda_id == bindparam("which")).limit(1),
    "which",
)


def add_lambda(connection: Connection, new: Lambda) -> None:
    options = to_json(new.options)
    _insert.run(
        connection, new.id, new.codex, new.runtime, new.name, options, new.created_at, new.codex_sha256,
        new.deleted_at,
    )  # fmt: skip


def find_lambdas(connection: Connection, ids: set[int]) -> dict[int, Lambda]:
    """Return those of the lambdas that exist, by id."""
    return {row[0]: _to_lambda(row) for row in _by_ids.rows(connection, ids)}


def find_ids_by_name(connection: Connection, name: str) -> list[int]:
    """Return the lambdas of a name."""
    return [id_ for (id_,) in _ids_by_name.rows(connection, name)]


def has_runtime(connection: Connection, runtime: str) -> bool:
    """Tell whether there is a lambda of a runtime. It may look at all lambdas."""
    return _of_runtime.value(connection, runtime) is not None


def find_names(connection: Connection, ids: Iterable[int]) -> dict[int, str | None]:
    """Return the names, or None, of those of the lambdas that exist, by id."""
    return dict(_names.rows(connection, ids))


def list_lambdas(connection: Connection, name: str | None = None, *, before: int, limit: int) -> list[Lambda]:
    """Return lambdas, or those of a name, that are older than ``before``, newest first."""
    read = partial(_page.rows, connection) if name is None else partial(_page_of_name.rows, connection, name)
    return list(map(_to_lambda, read_newest(read, before, limit)))


def find_by_code(connection: Connection, sha256: bytes, *, limit: int) -> list[Lambda]:
    """Return lambdas whose code has this SHA-256, newest first."""
    return list(map(_to_lambda, read_newest(partial(_by_code.rows, connection, sha256), ID_MAX, limit)))


def mark_deleted(connection: Connection, id_: int, now: int) -> bool:
    """Note that a lambda was deleted. Returns False when it was already, or is not there."""
    return _mark.run(connection, id_, now) == 1


def find_revision(connection: Connection, id_: int) -> tuple[str, str] | None:
    """Return (function, revision) of one that is made of a lambda."""
    row = _revision.row(connection, id_)
    return (row[0], row[1]) if row else None


def _to_lambda(row: Row) -> Lambda:
    id_, codex, runtime, name, options, *others = row
    return Lambda(id_, codex, runtime, name, msgspec.json.decode(options, type=LambdaOptions), *others)
