"""Webhook rows. One that was deleted has no name, and is found by nobody but the sweep."""

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, delete, exists, func, select, update
from sqlalchemy.dialects import postgresql

from piecework.server.store.engine.statements import ByList, Statement
from piecework.server.store.engine.tables import groups, schedules
from piecework.server.store.engine.tables.webhooks import deliveries, webhooks
from piecework.server.store.queue.webhooks.webhook_records import Webhook

_this = webhooks.c.id == bindparam("which")
_there = webhooks.c.name.is_not(None)
_every = select(webhooks).where(_there)
# SQLite spells it in the same way. Nothing but the name can be there already.
_insert = Statement(postgresql.insert(webhooks).on_conflict_do_nothing(), *(each.name for each in webhooks.c))
_by_id = Statement(_every.where(_this), "which")
_lock = Statement(_every.where(_this).with_for_update(), "which")
_by_names = ByList(_every, webhooks.c.name, str)
_page = Statement(
    _every.where(webhooks.c.id < bindparam("below")).order_by(webhooks.c.id.desc()).limit(bindparam("most")),
    "below", "most",
)  # fmt: skip
_count = Statement(select(func.count()).select_from(webhooks).where(_there))
_CHANGED = ("url", "secret", "old_secret", "old_until", "paused_at", "trouble")
_change = Statement(
    update(webhooks).where(_this, _there).values({name: bindparam(f"new_{name}") for name in _CHANGED}),
    "which", *(f"new_{name}" for name in _CHANGED),
)  # fmt: skip
_delete = Statement(
    update(webhooks)
    .where(_this, _there)
    .values(name=None, url="", secret="", old_secret=None, old_until=None, trouble=None),
    "which",
)
_deleted = Statement(select(webhooks.c.id).where(webhooks.c.name.is_(None)).limit(1))
_remove = Statement(delete(webhooks).where(_this, webhooks.c.name.is_(None)), "which")
_due = Statement(
    select(webhooks.c.id).where(
        _there,
        webhooks.c.paused_at.is_(None),
        exists().where(deliveries.c.webhook_id == webhooks.c.id, deliveries.c.next_at <= bindparam("now")),
    ),
    "now",
)
_schedules = Statement(
    select(schedules.c.name)
    .where(func.replace(schedules.c.spec, bindparam("field"), "") != schedules.c.spec)
    .order_by(schedules.c.name)
    .limit(1),
    "field",
)
_groups = Statement(
    select(groups.c.id).where(groups.c.on_end == bindparam("called"), groups.c.done_at.is_(None)).limit(1),
    "called",
)


def add_webhook(connection: Connection, new: Webhook) -> bool:
    """Store a webhook. Returns False, and stores nothing, when another has its name."""
    return _insert.run(connection, *(getattr(new, each.name) for each in webhooks.c)) == 1


def find_webhook(connection: Connection, id_: int) -> Webhook | None:
    row = _by_id.row(connection, id_)
    return Webhook(*row) if row else None


def lock_webhook(connection: Connection, id_: int) -> Webhook | None:
    """Return a webhook; nobody else changes it, or takes deliveries of it, until the transaction ends."""
    row = _lock.row(connection, id_)
    return Webhook(*row) if row else None


def find_by_names(connection: Connection, names: Iterable[str]) -> dict[str, Webhook]:
    """Return those of the webhooks that exist, by name."""
    return {row[1]: Webhook(*row) for row in _by_names.rows(connection, names)}


def list_webhooks(connection: Connection, *, before: int, limit: int) -> list[Webhook]:
    """Return webhooks that are older than ``before``, newest first."""
    return [Webhook(*row) for row in _page.rows(connection, before, limit)]


def count_webhooks(connection: Connection) -> int:
    return int(_count.value(connection))


def change_webhook(connection: Connection, new: Webhook) -> bool:
    """Store how a webhook is to be, all but its name. Returns False when it is gone."""
    return _change.run(connection, new.id, *(getattr(new, name) for name in _CHANGED)) == 1


def delete_webhook(connection: Connection, id_: int) -> bool:
    """Forget all of a webhook but that it was there. Returns False when it was gone."""
    return _delete.run(connection, id_) == 1


def find_deleted(connection: Connection) -> int | None:
    """Return a webhook that was deleted and whose row is left."""
    id_: int | None = _deleted.value(connection)
    return id_


def remove_webhook(connection: Connection, id_: int) -> None:
    """Remove the row of a webhook that was deleted."""
    _remove.run(connection, id_)


def list_due(connection: Connection, now: int) -> list[int]:
    """Return the webhooks that have something to be sent, and are not paused."""
    return [id_ for (id_,) in _due.rows(connection, now)]


def find_user(connection: Connection, name: str) -> str | None:
    """Return a schedule, or a group that is not done, which names a webhook, in words; None when there is none."""
    schedule = _schedules.value(connection, f'"on_end":"{name}"')
    if schedule is not None:
        return f"schedule {schedule}"
    group = _groups.value(connection, name)
    return None if group is None else f"group {group}"
