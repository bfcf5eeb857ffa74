"""Delivery rows: what is to be sent, is being sent, or was."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, literal_column, select, update

from piecework.protocol.messages import DeliveryState
from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables.webhooks import deliveries
from piecework.server.store.queue.webhooks.webhook_records import Delivery, DeliveryCounts, NewDelivery

_c = deliveries.c
_this = _c.id == bindparam("which")
_of_webhook = _c.webhook_id == bindparam("webhook")


def _spell(state: DeliveryState) -> ColumnElement[Any]:
    return literal_column(f"'{state}'")


_insert = Statement(insert(deliveries), *NewDelivery._fields, "state", "next_at", "attempts", "detail")
_by_id = Statement(select(deliveries).where(_this), "which")


def _list(*which: ColumnElement[bool], names: tuple[str, ...]) -> Statement:
    return Statement(
        select(deliveries)
        .where(*which, _c.id < bindparam("below"))
        .order_by(_c.id.desc())
        .limit(bindparam("most")),
        *names, "below", "most",
    )  # fmt: skip


_page = _list(_of_webhook, names=("webhook",))
_page_of_state = _list(_of_webhook, _c.state == bindparam("stands"), names=("webhook", "stands"))
_busy = Statement(
    select(func.count()).where(_of_webhook, _c.state == _spell("sending"), _c.next_at > bindparam("now")),
    "webhook", "now",
)  # fmt: skip
_due = Statement(
    select(deliveries)
    .where(_of_webhook, _c.next_at <= bindparam("now"))
    .order_by(_c.next_at, _c.id)
    .limit(bindparam("most")),
    "webhook", "now", "most",
)  # fmt: skip
_take = Statement(
    update(deliveries)
    .where(_this)
    .values(state="sending", next_at=bindparam("until"), attempts=_c.attempts + 1, tried_at=bindparam("now")),
    "which", "until", "now",
)  # fmt: skip
_record = Statement(
    update(deliveries)
    .where(_this, _c.state == _spell("sending"), _c.next_at == bindparam("until"))
    .values(
        state=bindparam("stands"),
        next_at=bindparam("next"),
        took_ms=bindparam("took"),
        status=bindparam("answered"),
        detail=bindparam("why"),
    ),
    "which", "until", "stands", "next", "took", "answered", "why",
)  # fmt: skip
_again = {"state": "waiting", "next_at": bindparam("now"), "attempts": 0}
_retry = Statement(update(deliveries).where(_this, _c.state != _spell("sending")).values(_again), "which", "now")
_some_failed = (
    select(_c.id).where(_of_webhook, _c.state == _spell("failed")).order_by(_c.id).limit(bindparam("most"))
)
_retry_failed = Statement(
    update(deliveries).where(_c.id.in_(_some_failed.scalar_subquery())).values(_again), "webhook", "most", "now"
)


def _sweep(which: ColumnElement[bool], name: str) -> Statement:
    some = select(_c.id).where(which).order_by(_c.id).limit(bindparam("most"))
    return Statement(delete(deliveries).where(_c.id.in_(some.scalar_subquery())), name, "most")


_forget = _sweep(_c.id < bindparam("before"), "before")
_forget_of = _sweep(_of_webhook, "webhook")


def _count(*states: DeliveryState) -> Any:
    some = select(_c.id).where(_of_webhook, _c.state.in_(list(map(_spell, states)))).limit(bindparam("most"))
    return select(func.count()).select_from(some.subquery()).scalar_subquery()


_counts = Statement(select(_count("waiting", "sending"), _count("failed")), "webhook", "most")


def add_deliveries(connection: Connection, new: Sequence[NewDelivery]) -> None:
    """Store what is to be sent, at once."""
    _insert.run_many(connection, [(*each, "waiting", each.created_at, 0, "") for each in new])


def find_delivery(connection: Connection, id_: int) -> Delivery | None:
    row = _by_id.row(connection, id_)
    return Delivery._make(row) if row else None


def list_deliveries(
    connection: Connection, webhook_id: int, state: DeliveryState | None, *, before: int, limit: int
) -> list[Delivery]:
    """Return deliveries of a webhook with smaller ids than ``before``, newest first."""
    if state is None:
        return list(map(Delivery._make, _page.rows(connection, webhook_id, before, limit)))
    return list(map(Delivery._make, _page_of_state.rows(connection, webhook_id, state, before, limit)))


def count_deliveries(connection: Connection, webhook_id: int, most: int) -> DeliveryCounts:
    """Return how many deliveries of a webhook stand how; ``most`` for more."""
    return DeliveryCounts(*(_counts.row(connection, webhook_id, most) or (0, 0)))


def count_busy(connection: Connection, webhook_id: int, now: int) -> int:
    """Return how many deliveries of a webhook are being sent."""
    return int(_busy.value(connection, webhook_id, now))


def take_due(connection: Connection, webhook_id: int, now: int, until: int, most: int) -> list[Delivery]:
    """Take what is to be sent to a webhook that this transaction has locked. It is the caller's ``until`` then."""
    due = [Delivery._make(row) for row in _due.rows(connection, webhook_id, now, max(0, most))]
    _take.run_many(connection, [(each.id, until, now) for each in due])
    return [
        each._replace(state="sending", next_at=until, attempts=each.attempts + 1, tried_at=now) for each in due
    ]


def record_attempt(connection: Connection, taken: Delivery, new: Delivery) -> bool:
    """Write down what came of an attempt. Returns False when the delivery is not the caller's any more."""
    values = (new.state, new.next_at, new.took_ms, new.status, new.detail)
    return _record.run(connection, taken.id, taken.next_at, *values) == 1


def retry_delivery(connection: Connection, id_: int, now: int) -> bool:
    """Have a delivery sent now. Returns False when it is being sent, or is gone."""
    return _retry.run(connection, id_, now) == 1


def retry_failed(connection: Connection, webhook_id: int, limit: int, now: int) -> int:
    """Have some failed deliveries of a webhook sent again, the oldest first. Returns how many."""
    return _retry_failed.run(connection, webhook_id, limit, now)


def forget_old(connection: Connection, before: int, limit: int) -> int:
    """Delete some deliveries with ids below ``before``. Returns how many."""
    return _forget.run(connection, before, limit)


def forget_of_webhook(connection: Connection, webhook_id: int, limit: int) -> int:
    """Delete some deliveries of a webhook. Returns how many."""
    return _forget_of.run(connection, webhook_id, limit)
