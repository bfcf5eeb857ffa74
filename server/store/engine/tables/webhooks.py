"""The tables of webhooks, and of what is delivered to them."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from piecework.server.store.engine.metadata import BigId, metadata, partial_index

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("name", String(100)),  # NULL: it was deleted, and goes with the last of its deliveries
    Column("url", String(2000), nullable=False),
    Column("secret", String(100), nullable=False),
    Column("old_secret", String(100)),  # signs as well, until then
    Column("old_until", BigInteger),
    Column("created_by", String(100)),  # the name of a token
    Column("created_at", BigInteger, nullable=False),
    Column("paused_at", BigInteger),
    Column("trouble", String(500)),  # why it was paused, when nobody did it
    UniqueConstraint("name"),
    CheckConstraint("(old_secret IS NULL) = (old_until IS NULL)", name="rotation"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("webhook_id", BigInteger, nullable=False),
    Column("type", String(30), nullable=False),  # such as job.finished
    Column("subject_id", BigInteger),  # the job or group that ended
    Column("body", Text, nullable=False),  # what is sent
    Column("state", String(9), nullable=False),  # a DeliveryState
    Column("created_at", BigInteger, nullable=False),
    Column("next_at", BigInteger),  # when it is sent, while it waits; when it counts as lost, while it is sent
    Column("attempts", Integer, nullable=False),
    Column("tried_at", BigInteger),  # when the last attempt began
    Column("took_ms", Integer),
    Column("status", SmallInteger),  # of the answer to it
    Column("detail", Text, nullable=False),
    CheckConstraint(
        "state = 'waiting' OR state = 'sending' OR state = 'delivered' OR state = 'failed'", name="state"
    ),
    CheckConstraint("(next_at IS NOT NULL) = (state = 'waiting' OR state = 'sending')", name="next"),
)
Index("ix_deliveries_webhook_id", deliveries.c.webhook_id, deliveries.c.id)
Index("ix_deliveries_state", deliveries.c.webhook_id, deliveries.c.state, deliveries.c.id)
partial_index(
    "ix_deliveries_due",
    deliveries.c.webhook_id,
    deliveries.c.next_at,
    deliveries.c.id,
    where="next_at IS NOT NULL",
)
