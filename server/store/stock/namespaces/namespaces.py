"""Namespace rows.

Flushing a namespace begins its next epoch, and removing it only notes the time: both are quick whatever it holds.
The entries that nobody can see any more are swept in small steps, and a removed row goes after the last of them.
"""

from functools import partial

from sqlalchemy import Connection, and_, bindparam, delete, insert, or_, select, update

from piecework.server.store.engine.ids import read_newest
from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables import entries, namespaces
from piecework.server.store.stock.namespaces.namespace_records import Namespace, Unswept

_columns = (namespaces.c.id, namespaces.c.consistency, namespaces.c.epoch, namespaces.c.created_at)
_kept = namespaces.c.removed_at.is_(None)
_this = and_(namespaces.c.id == bindparam("namespace"), _kept)

_insert = Statement(insert(namespaces), "id", "consistency", "epoch", "created_at", "swept_epoch")
_by_id = Statement(select(*_columns).where(_this), "namespace")
_hold = Statement(select(namespaces.c.epoch).where(_this).with_for_update(read=True), "namespace")
_page = Statement(
    select(*_columns)
    .where(namespaces.c.id > bindparam("above"), namespaces.c.id < bindparam("below"), _kept)
    .order_by(namespaces.c.id.desc())
    .limit(bindparam("limit")),
    "above", "below", "limit",
)  # fmt: skip
_flush = Statement(update(namespaces).where(_this).values(epoch=namespaces.c.epoch + 1), "namespace")
_remove = Statement(update(namespaces).where(_this).values(removed_at=bindparam("at")), "namespace", "at")
_unswept = Statement(
    select(namespaces.c.id, namespaces.c.epoch, namespaces.c.removed_at.is_not(None))
    .where(or_(namespaces.c.removed_at.is_not(None), namespaces.c.swept_epoch < namespaces.c.epoch))
    .order_by(namespaces.c.id)
    .limit(1)
)
_note_swept = Statement(
    update(namespaces).where(namespaces.c.id == bindparam("namespace")).values(swept_epoch=bindparam("before")),
    "namespace", "before",
)  # fmt: skip
_forget = Statement(
    delete(namespaces).where(
        namespaces.c.id == bindparam("namespace"),
        namespaces.c.removed_at.is_not(None),
        ~select(entries.c.key).where(entries.c.namespace_id == namespaces.c.id).exists(),
    ),
    "namespace",
)


def add_namespace(connection: Connection, new: Namespace) -> None:
    _insert.run(connection, *new, new.epoch)


def find_namespace(connection: Connection, id_: int) -> Namespace | None:
    row = _by_id.row(connection, id_)
    return Namespace(*row) if row else None


def hold_namespace(connection: Connection, id_: int) -> int | None:
    """Return a namespace's epoch, which nobody ends before this transaction does; None when there is none."""
    epoch: int | None = _hold.value(connection, id_)
    return epoch


def list_namespaces(connection: Connection, *, before: int, limit: int) -> list[Namespace]:
    """Return namespaces that are older than ``before``, newest first."""
    return [Namespace(*row) for row in read_newest(partial(_page.rows, connection), before, limit)]


def flush_namespace(connection: Connection, id_: int) -> bool:
    """Begin the next epoch, in which nothing has a value yet. Returns False when there is no such namespace."""
    return _flush.run(connection, id_) == 1


def remove_namespace(connection: Connection, id_: int, now: int) -> bool:
    """Remove a namespace with all that is in it. Returns False when there was none."""
    return _remove.run(connection, id_, now) == 1


def find_unswept(connection: Connection) -> Unswept | None:
    """Return a namespace that may have entries which nobody can see."""
    row = _unswept.row(connection)
    return Unswept(row[0], row[1], bool(row[2])) if row else None


def note_swept(connection: Connection, swept: Unswept) -> None:
    """Note that no entry is left that is not to be seen; the row of a removed namespace goes."""
    if swept.is_removed:
        _forget.run(connection, swept.id)
    else:
        _note_swept.run(connection, swept.id, swept.epoch)
