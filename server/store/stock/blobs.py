"""Blob rows. Small blobs are here whole; of large ones the bytes are in the blob store."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, bindparam, delete, exists, insert, or_, select

from server.store.engine.statements import ByList, Statement
from server.store.engine.tables import blobs, jobs, lambdas, modules
from server.store.records import Blob

_insert = Statement(insert(blobs), "id", "sha256", "size", "content", "created_at")
_columns = (blobs.c.id, blobs.c.sha256, blobs.c.size, blobs.c.content, blobs.c.created_at)
_by_id = Statement(select(*_columns).where(blobs.c.id == bindparam("blob")), "blob")
_by_ids = ByList(select(*_columns), blobs.c.id)
_facts_by_ids = ByList(select(blobs.c.id, blobs.c.sha256, blobs.c.size), blobs.c.id)
_used = Statement(
    select(
        or_(
            exists().where(lambdas.c.codex == bindparam("blob")),
            exists().where(modules.c.blob_id == bindparam("blob")),
            exists().where(jobs.c.input_id == bindparam("blob"), jobs.c.finished_at.is_(None)),
        )
    ),
    "blob",
)
_delete = Statement(delete(blobs).where(blobs.c.id == bindparam("blob")), "blob")
_stored = Statement(
    select(exists().where(blobs.c.sha256 == bindparam("digest"), blobs.c.content.is_(None))), "digest"
)


def add_blobs(connection: Connection, new: Sequence[Blob]) -> None:
    """Store blob rows. Large contents must be in the blob store already."""
    _insert.run_many(connection, new)


def find_blob(connection: Connection, id_: int) -> Blob | None:
    row = _by_id.row(connection, id_)
    return Blob(*row) if row else None


def find_blobs(connection: Connection, ids: Iterable[int]) -> dict[int, Blob]:
    """Return those of the blobs that exist, with their contents, by id."""
    return {row[0]: Blob._make(row) for row in _by_ids.rows(connection, ids)}


def find_digests(connection: Connection, ids: Iterable[int]) -> dict[int, tuple[bytes, int]]:
    """Return (SHA-256, size) of those of the blobs that exist, by id."""
    return {id_: (sha256, size) for id_, sha256, size in _facts_by_ids.rows(connection, ids)}


def is_used(connection: Connection, id_: int) -> bool:
    """Tell whether a lambda, a module or an unfinished job needs the blob."""
    return bool(_used.value(connection, id_))


def delete_blob(connection: Connection, id_: int) -> bool:
    """Remove a blob row. Returns False when there was none."""
    return _delete.run(connection, id_) == 1


def is_stored(connection: Connection, sha256: bytes) -> bool:
    """Tell whether any row needs the blob store's copy of these bytes."""
    return bool(_stored.value(connection, sha256))
