"""The tables of limits by key, and of the tenants that take turns."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, String, Table, Text

from piecework.server.store.engine.metadata import BigId, metadata, partial_index

tenants = Table(
    "tenants",
    metadata,
    Column("number", BigId, primary_key=True, autoincrement=False),  # the upper bits of its lanes' ids
    Column("name", String(100), nullable=False, unique=True),
    Column("weight", Integer, nullable=False),
)

limits = Table(
    "limits",
    metadata,
    Column("kind", String(11), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("said", Integer),  # by the newest submission or lambda that said one
    Column("said_period_ms", BigInteger),
    Column("ruled", Integer),  # by an operator: it counts instead
    Column("ruled_period_ms", BigInteger),
    Column("running", Integer, nullable=False),  # leased jobs of a concurrency key
    Column("starts", Text),  # JSON: when jobs of a rate key started, see services/queue/limits/windows.py
    Column("wake_at", BigInteger),  # when there is room for more jobs that wait
    Column("used_at", BigInteger, nullable=False),
    CheckConstraint("kind = 'concurrency' OR kind = 'rate'", name="kind"),
    CheckConstraint("running >= 0", name="running"),
)
partial_index("ix_limits_wake_at", limits.c.wake_at, where="wake_at IS NOT NULL")
