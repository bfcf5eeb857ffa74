"""Recorded calls of functions: rows with what is told of each, and all of it."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from piecework.server.store.engine.ids import read_newest
from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables.functions import recorded_calls as table
from piecework.server.store.functions.replicas import Name


class RecordedCallRow(NamedTuple):
    """A recorded call, but its content."""

    id: int
    function: str
    revision: str
    at: int
    took_s: float
    method: str
    uri: str
    status: int | None
    error: str | None
    fuel: int | None
    memory_bytes: int | None
    size: int


_columns = tuple(table.c[name] for name in RecordedCallRow._fields)
_of_revision = (table.c.function == bindparam("which"), table.c.revision == bindparam("version"))
_insert = Statement(insert(table), *RecordedCallRow._fields, "content")
_same = Statement(
    select(table.c.id).where(
        table.c.at == bindparam("began"),
        table.c.took_s == bindparam("lasted"),
        *_of_revision,
        table.c.size == bindparam("bytes"),
    ),
    "began", "lasted", "which", "version", "bytes",
)  # fmt: skip
_page = Statement(
    select(*_columns)
    .where(*_of_revision, table.c.id > bindparam("above"), table.c.id < bindparam("below"))
    .order_by(table.c.id.desc())
    .limit(bindparam("limit")),
    "which", "version", "above", "below", "limit",
)  # fmt: skip
_this = (*_of_revision, table.c.id == bindparam("call"))
_one = Statement(select(*_columns, table.c.content).where(*_this), "which", "version", "call")
_sizes = Statement(
    select(table.c.id, table.c.size).where(*_of_revision).order_by(table.c.id.desc()), "which", "version"
)
_counts = Statement(
    select(table.c.function, table.c.revision, func.count()).group_by(table.c.function, table.c.revision)
)
_count_of = Statement(
    select(table.c.function, table.c.revision, func.count())
    .where(table.c.function == bindparam("which"))
    .group_by(table.c.function, table.c.revision),
    "which",
)
_old = Statement(
    select(table.c.id).where(table.c.at < bindparam("before")).order_by(table.c.at).limit(bindparam("most")),
    "before", "most",
)  # fmt: skip
_delete = Statement(delete(table).where(table.c.id == bindparam("call")), "call")
_delete_all = Statement(delete(table).where(*_of_revision), "which", "version")


def add_call(connection: Connection, new: RecordedCallRow, content: bytes) -> None:
    """Store a recorded call of a revision that is there, unless it is there already. Safe to repeat."""
    if _same.row(connection, new.at, new.took_s, new.function, new.revision, new.size) is None:
        _insert.run(connection, *new, content)


def trim_calls(connection: Connection, function: str, revision: str, most: int, most_bytes: int) -> None:
    """Remove the oldest recorded calls of a revision until there are so many at most, with so many bytes."""
    total, gone = 0, []
    for place, (id_, size) in enumerate(_sizes.rows(connection, function, revision)):
        total += size
        if place >= most or total > most_bytes:
            gone.append((id_,))
    _delete.run_many(connection, gone)


def list_calls(
    connection: Connection, function: str, revision: str, *, before: int, limit: int
) -> list[RecordedCallRow]:
    """Return recorded calls of a revision that are older than ``before``, newest first."""
    return [
        RecordedCallRow._make(row)
        for row in read_newest(partial(_page.rows, connection, function, revision), before, limit)
    ]


def find_call(
    connection: Connection, function: str, revision: str, id_: int
) -> tuple[RecordedCallRow, bytes] | None:
    """Return a recorded call of a revision with its content."""
    row = _one.row(connection, function, revision, id_)
    return (RecordedCallRow._make(row[:-1]), row[-1]) if row else None


def count_calls(connection: Connection, function: str | None = None) -> dict[Name, int]:
    """Return how many recorded calls there are of each revision that has some, of one function or of all."""
    rows = _counts.rows(connection) if function is None else _count_of.rows(connection, function)
    return {(name, revision): count for name, revision, count in rows}


def delete_calls(connection: Connection, function: str, revision: str) -> int:
    """Remove all recorded calls of a revision. Returns how many there were."""
    return _delete_all.run(connection, function, revision)


def delete_old(connection: Connection, before: int, most: int) -> int:
    """Remove recorded calls that began before then, so many at most. Returns how many there were."""
    found: Sequence[tuple[int]] = [(id_,) for (id_,) in _old.rows(connection, before, most)]
    return _delete.run_many(connection, found)
