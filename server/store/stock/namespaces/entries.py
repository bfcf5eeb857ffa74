"""Entry rows: the values of a namespace, by key."""

from sqlalchemy import Connection, and_, bindparam, delete, func, or_, select
from sqlalchemy.dialects import postgresql

from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables import entries, namespaces
from piecework.server.store.stock.namespaces.namespace_records import Entry, Namespace, Unswept

_columns = (entries.c.value, entries.c.expires_at, entries.c.changed_at)
_PLACE = ("namespace", "era", "name")
_this = and_(
    entries.c.namespace_id == bindparam("namespace"),
    entries.c.epoch == bindparam("era"),
    entries.c.key == bindparam("name"),
)
_all = and_(entries.c.namespace_id == bindparam("namespace"), entries.c.epoch == bindparam("era"))
_is_there = or_(entries.c.expires_at.is_(None), entries.c.expires_at > bindparam("now"))

_find = Statement(
    select(namespaces.c.id, *_columns)
    .outerjoin(
        entries,
        and_(
            entries.c.namespace_id == namespaces.c.id,
            entries.c.epoch == namespaces.c.epoch,
            entries.c.key == bindparam("name"),
            _is_there,
        ),
    )
    .where(namespaces.c.id == bindparam("namespace"), namespaces.c.removed_at.is_(None)),
    "namespace", "name", "now",
)  # fmt: skip
_lock = Statement(select(*_columns).where(_this).with_for_update(), *_PLACE)
_names = ("namespace_id", "epoch", "key", "value", "expires_at", "changed_at")
# SQLite spells both in the same way.
_insert = postgresql.insert(entries)
_add = Statement(_insert.on_conflict_do_nothing(), *_names)
_put = Statement(
    _insert.on_conflict_do_update(
        index_elements=_names[:3], set_={name: _insert.excluded[name] for name in _names[3:]}
    ),
    *_names,
)
_delete = Statement(delete(entries).where(_this), *_PLACE)
_page = (
    select(entries.c.key)
    .where(_all, _is_there, entries.c.key > bindparam("above"), entries.c.key >= bindparam("first"))
    .order_by(entries.c.key)
    .limit(bindparam("limit"))
)
_keys = Statement(_page, "namespace", "era", "now", "above", "first", "limit")
_keys_below = Statement(
    _page.where(entries.c.key < bindparam("end")),
    "namespace", "era", "now", "above", "first", "limit", "end",
)  # fmt: skip
_use = Statement(
    select(
        func.count(), func.coalesce(func.sum(func.length(entries.c.key) + func.length(entries.c.value)), 0)
    ).where(_all, _is_there),
    "namespace", "era", "now",
)  # fmt: skip
_expired = Statement(
    select(entries.c.namespace_id, entries.c.epoch, entries.c.key)
    .where(entries.c.expires_at <= bindparam("now"))
    .order_by(entries.c.expires_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True),
    "now", "limit",
)  # fmt: skip
_any_expired = Statement(
    select(entries.c.namespace_id).where(entries.c.expires_at <= bindparam("now")).limit(1), "now"
)
_of_epochs_before = Statement(
    select(entries.c.namespace_id, entries.c.epoch, entries.c.key)
    .where(entries.c.namespace_id == bindparam("namespace"), entries.c.epoch < bindparam("end"))
    .order_by(entries.c.epoch, entries.c.key)
    .limit(bindparam("limit")),
    "namespace", "end", "limit",
)  # fmt: skip


def find_entry(connection: Connection, namespace: int, key: bytes, now: int) -> tuple[bool, Entry | None]:
    """Return whether there is such a namespace, and what it has under a key."""
    row = _find.row(connection, namespace, key, now)
    if row is None:
        return False, None
    return True, None if row[1] is None else Entry(*row[1:])


def lock_entry(connection: Connection, namespace: int, epoch: int, key: bytes) -> Entry | None:
    """Return an entry, one that has expired, too; nobody else changes it before this transaction ends."""
    row = _lock.row(connection, namespace, epoch, key)
    return Entry(*row) if row else None


def add_entry(connection: Connection, namespace: int, epoch: int, key: bytes, new: Entry) -> bool:
    """Store an entry. Returns False, and stores nothing, when there is one."""
    return _add.run(connection, namespace, epoch, key, *new) == 1


def put_entry(connection: Connection, namespace: int, epoch: int, key: bytes, new: Entry) -> None:
    """Store an entry in the place of the one that is there, if there is one."""
    _put.run(connection, namespace, epoch, key, *new)


def delete_entry(connection: Connection, namespace: int, epoch: int, key: bytes) -> None:
    _delete.run(connection, namespace, epoch, key)


def list_keys(
    connection: Connection, namespace: Namespace, now: int, *, prefix: bytes, after: bytes, limit: int
) -> list[bytes]:
    """Return the keys that begin with ``prefix`` and come after a key, in order."""
    given = (namespace.id, namespace.epoch, now, after, prefix, limit)
    if not prefix:
        return [key for (key,) in _keys.rows(connection, *given)]
    # No byte of UTF-8 is 255: there is always a next one.
    end = prefix[:-1] + bytes([prefix[-1] + 1])
    return [key for (key,) in _keys_below.rows(connection, *given, end)]


def measure(connection: Connection, namespace: Namespace, now: int) -> tuple[int, int]:
    """Return how many entries a namespace has, and the bytes of their keys and values."""
    row = _use.row(connection, namespace.id, namespace.epoch, now)
    assert row is not None
    return row[0], int(row[1])


def has_expired(connection: Connection, now: int) -> bool:
    """Tell whether there is an entry whose time is over."""
    return _any_expired.row(connection, now) is not None


def sweep_expired(connection: Connection, now: int, limit: int) -> int:
    """Delete entries whose time is over. Returns how many."""
    rows = _expired.rows(connection, now, limit)
    _delete.run_many(connection, rows)
    return len(rows)


def sweep_unseen(connection: Connection, namespace: Unswept, limit: int) -> int:
    """Delete entries of a namespace's past epochs, or of all when it was removed. Returns how many."""
    end = namespace.epoch + namespace.is_removed
    rows = _of_epochs_before.rows(connection, namespace.id, end, limit)
    _delete.run_many(connection, rows)
    return len(rows)
