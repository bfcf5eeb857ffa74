"""What migrations do to large tables that servers use meanwhile.

On PostgreSQL, in a migration that says ``in_transaction = False``, each of these commits by itself, holds no lock
that stops the queue, and may be repeated. On SQLite, and in a database that nobody uses yet, they are the plain
statements, in the one transaction of the whole migration.
"""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import sqlalchemy as sa
from alembic import context, op

from piecework.server.store.schema.patient_locks import SET_TIMEOUT, try_patiently

T = TypeVar("T")
BATCH_ROWS = 1000


def create_index(
    name: str, table: str, columns: Sequence[str], *, unique: bool = False, where: str | None = None
) -> None:
    """Make an index while rows come and go. One that an earlier try left unfinished is removed first."""
    condition = None if where is None else sa.text(where)

    def create(*, online: bool = False) -> None:
        op.create_index(
            name,
            table,
            list(columns),
            unique=unique,
            sqlite_where=condition,
            postgresql_where=condition,
            postgresql_concurrently=online,
        )

    if not _is_online():
        create()
    elif context.is_offline_mode():
        create(online=True)
    else:
        while (is_valid := _find_index(name)) is not True:
            if is_valid is None:
                try_patiently(f"index {name}", lambda: create(online=True))
            else:
                drop_index(name, table)


def drop_index(name: str, table: str) -> None:
    """Remove an index, if it is there, while servers use its table."""
    if _is_online():
        try_patiently(f"index {name}", lambda: op.drop_index(name, postgresql_concurrently=True, if_exists=True))
    else:
        op.drop_index(name, table, if_exists=True)


def execute(statement: str) -> None:
    """Run a statement that may be repeated, such as ``ALTER TABLE … IF EXISTS``; waits for locks in turns."""
    if _is_online() and not context.is_offline_mode():
        _commit(statement.partition(" (")[0], lambda: op.get_bind().exec_driver_sql(statement))
    else:
        op.execute(statement)


def update_in_batches(table: str, values: str, where: str, *, key: str = "id", rows: int = BATCH_ROWS) -> None:
    """Run ``UPDATE table SET values WHERE where`` in the order of a key of numbers, so many rows to a commit.

    Servers have the database for themselves between two batches for as long as one takes. ``where`` should hold
    only for rows that still need it: then a repeat is quick.
    """
    if not _is_online() or context.is_offline_mode():
        if _is_online():
            context.static_output(f"-- {rows} rows at a time, in the order of {key}:")
        op.execute(f"UPDATE {table} SET {values} WHERE {where}")  # noqa: S608  # the migration's own texts
        return
    batch = sa.text(
        f"UPDATE {table} SET {values} WHERE {key} IN (SELECT {key} FROM {table} WHERE {key} > :after AND ({where})"  # noqa: S608
        f" ORDER BY {key} LIMIT {rows}) RETURNING {key}"
    )
    after, pause = -(1 << 63), threading.Event()
    while True:
        began = time.monotonic()
        done = _commit(f"an update of {table}", partial(_run_batch, batch, after))
        if not done:
            return
        after = max(done)
        pause.wait(time.monotonic() - began)


def _run_batch(batch: sa.TextClause, after: int) -> list[int]:
    return list(op.get_bind().execute(batch, {"after": after}).scalars())


def _commit(what: str, work: Callable[[], T]) -> T:
    """Run work in a transaction of its own that waits for locks in turns."""
    run = op.get_bind().exec_driver_sql

    def attempt() -> T:
        run("BEGIN")
        try:
            run(SET_TIMEOUT)
            value = work()
        except BaseException:
            run("ROLLBACK")
            raise
        run("COMMIT")
        return value

    return try_patiently(what, attempt)


def _is_online() -> bool:
    return bool(context.config.attributes.get("online"))


def _find_index(name: str) -> bool | None:
    """Tell whether an index is whole; None when there is none."""
    select = sa.text(
        "SELECT indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
        " WHERE relname = :name AND relnamespace = current_schema()::regnamespace"
    )
    found: bool | None = op.get_bind().execute(select, {"name": name}).scalar()
    return found
