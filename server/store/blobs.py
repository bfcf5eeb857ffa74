"""Blob rows. Small blobs are here whole; of large ones the bytes are in the blob store."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, bindparam, delete, exists, insert, or_, select

from server.store.bulk import Bulk, ManyById
from server.store.records import Blob
from server.store.tables import blobs, jobs, lambdas

_insert = Bulk(insert(blobs), "id", "sha256", "size", "content", "created_at")
_columns = (blobs.c.id, blobs.c.sha256, blobs.c.size, blobs.c.content, blobs.c.created_at)
_by_id = select(*_columns).where(blobs.c.id == bindparam("id"))
_by_ids = ManyById(select(*_columns), blobs.c.id)
_facts_by_ids = ManyById(select(blobs.c.id, blobs.c.sha256, blobs.c.size), blobs.c.id)
_used = select(
    or_(
        exists().where(lambdas.c.codex == bindparam("id")),
        exists().where(jobs.c.input_id == bindparam("id"), jobs.c.finished_at.is_(None)),
    )
)
_delete = delete(blobs).where(blobs.c.id == bindparam("blob"))
_stored = select(exists().where(blobs.c.sha256 == bindparam("sha256"), blobs.c.content.is_(None)))


def add_blobs(connection: Connection, new: Sequence[Blob]) -> None:
    """Store blob rows. Large contents must be in the blob store already."""
    _insert.run(connection, new)


def find_blob(connection: Connection, id_: int) -> Blob | None:
    row = connection.execute(_by_id, {"id": id_}).first()
    return Blob(*row) if row else None


def find_blobs(connection: Connection, ids: Iterable[int]) -> dict[int, Blob]:
    """Return those of the blobs that exist, with their contents, by id."""
    return {row[0]: Blob._make(row) for row in _by_ids.rows(connection, ids)}


def find_digests(connection: Connection, ids: Iterable[int]) -> dict[int, tuple[bytes, int]]:
    """Return (SHA-256, size) of those of the blobs that exist, by id."""
    return {row.id: (row.sha256, row.size) for row in _facts_by_ids.rows(connection, ids)}


def is_used(connection: Connection, id_: int) -> bool:
    """Tell whether a lambda or an unfinished job needs the blob."""
    return bool(connection.execute(_used, {"id": id_}).scalar())


def delete_blob(connection: Connection, id_: int) -> bool:
    """Remove a blob row. Returns False when there was none."""
    return connection.execute(_delete, {"blob": id_}).rowcount == 1


def is_stored(connection: Connection, sha256: bytes) -> bool:
    """Tell whether any row needs the blob store's copy of these bytes."""
    return bool(connection.execute(_stored, {"sha256": sha256}).scalar())
