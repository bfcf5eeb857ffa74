"""Blob rows. Small blobs are here whole; of large ones the bytes are in the blob store."""

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection, and_, bindparam, delete, exists, insert, null, or_, select

from piecework.server.store.engine.ids import read_newest
from piecework.server.store.engine.statements import ByList, Statement
from piecework.server.store.engine.tables import (
    blobs,
    dependencies,
    groups,
    job_files,
    job_journals,
    jobs,
    lambdas,
    schedules,
)
from piecework.server.store.engine.tables.functions import modules
from piecework.server.store.engine.tables.memos import memos
from piecework.server.store.records import Blob

_columns = (blobs.c.id, blobs.c.sha256, blobs.c.size, blobs.c.content, blobs.c.created_at, blobs.c.name)
_insert = Statement(insert(blobs), *(column.name for column in _columns))
_by_id = Statement(select(*_columns).where(blobs.c.id == bindparam("blob")), "blob")
_by_ids = ByList(select(*_columns), blobs.c.id)
_page = Statement(
    select(*(null() if column is blobs.c.content else column for column in _columns))
    .where(blobs.c.id > bindparam("above"), blobs.c.id < bindparam("below"))
    .order_by(blobs.c.id.desc())
    .limit(bindparam("limit")),
    "above", "below", "limit",
)  # fmt: skip
_facts_by_ids = ByList(select(blobs.c.id, blobs.c.sha256, blobs.c.size), blobs.c.id)
_hold = ByList(
    select(blobs.c.id, blobs.c.sha256, blobs.c.size).with_for_update(read=True, key_share=True), blobs.c.id
)
_shown_by_ids = ByList(select(blobs.c.id, blobs.c.size, blobs.c.name), blobs.c.id)
_used = Statement(
    select(
        or_(
            exists().where(lambdas.c.codex == bindparam("blob")),
            exists().where(modules.c.blob_id == bindparam("blob")),
            exists().where(jobs.c.input_id == bindparam("blob"), jobs.c.finished_at.is_(None)),
            exists().where(
                job_files.c.blob_id == bindparam("blob"),
                job_files.c.job_id == jobs.c.id,
                jobs.c.finished_at.is_(None),
            ),
            exists().where(schedules.c.input_id == bindparam("blob")),
        )
    ),
    "blob",
)
# Who names a blob keeps it. Each of these columns has an index.
USERS = (
    lambdas.c.codex, modules.c.blob_id, jobs.c.input_id, jobs.c.output_id, job_files.c.blob_id,
    job_journals.c.blob_id, dependencies.c.blob_id, groups.c.output_id, schedules.c.input_id, memos.c.output_id,
)  # fmt: skip
is_unused = and_(*(~exists().where(column == blobs.c.id) for column in USERS))
_lock = ByList(select(blobs.c.id).order_by(blobs.c.id).with_for_update(), blobs.c.id)
_unused_by_ids = ByList(select(blobs.c.id, blobs.c.sha256, blobs.c.content.is_(None)).where(is_unused), blobs.c.id)
_delete = Statement(delete(blobs).where(blobs.c.id == bindparam("blob")), "blob")
_stored = Statement(
    select(exists().where(blobs.c.sha256 == bindparam("digest"), blobs.c.content.is_(None))), "digest"
)


class BlobFacts(NamedTuple):
    """What is told of a blob to people."""

    size: int
    name: str | None
    """What its file was called."""


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


def find_facts(connection: Connection, ids: Iterable[int]) -> dict[int, BlobFacts]:
    """Return what is known of those of the blobs that exist, by id."""
    return {id_: BlobFacts(size, name) for id_, size, name in _shown_by_ids.rows(connection, ids)}


def list_blobs(connection: Connection, *, before: int, limit: int) -> list[Blob]:
    """Return blobs that are older than ``before``, newest first, without their contents."""
    return list(map(Blob._make, read_newest(partial(_page.rows, connection), before, limit)))


def hold_blobs(connection: Connection, ids: Iterable[int]) -> dict[int, tuple[bytes, int]]:
    """Do what ``find_digests`` does, and keep the blobs from being removed before this transaction ends."""
    return {id_: (sha256, size) for id_, sha256, size in _hold.rows(connection, ids)}


def is_used(connection: Connection, id_: int) -> bool:
    """Tell whether a lambda, a module, an unfinished job or a schedule needs the blob."""
    return bool(_used.value(connection, id_))


def delete_blob(connection: Connection, id_: int) -> bool:
    """Remove a blob row. Returns False when there was none."""
    return _delete.run(connection, id_) == 1


def delete_unused(connection: Connection, ids: Collection[int]) -> list[bytes]:
    """Remove those of the blobs that nothing names. Returns the digests of those that are in the blob store.

    Whoever names a blob holds its row (``hold_blobs``): a blob that is named meanwhile stays.
    """
    if connection.dialect.name == "postgresql":
        _lock.rows(connection, ids)  # only a later statement sees what its holders committed
    found = _unused_by_ids.rows(connection, ids)
    _delete.run_many(connection, [(id_,) for id_, _, _ in found])
    return [sha256 for _, sha256, is_stored in found if is_stored]


def is_stored(connection: Connection, sha256: bytes) -> bool:
    """Tell whether any row needs the blob store's copy of these bytes."""
    return bool(_stored.value(connection, sha256))
