"""The tables of namespaces and their entries."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, LargeBinary, String, Table

from piecework.server.store.engine.metadata import BigId, metadata, partial_index

namespaces = Table(
    "namespaces",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("consistency", String(10), nullable=False),
    Column("epoch", BigInteger, nullable=False),  # one more with each flush
    Column("swept_epoch", BigInteger, nullable=False),  # no entry of an older one is left
    Column("created_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger),
    CheckConstraint("consistency = 'none' OR consistency = 'eventual'", name="consistency"),
    CheckConstraint("swept_epoch <= epoch", name="epochs"),
)
partial_index("ix_namespaces_unswept", namespaces.c.id, where="removed_at IS NOT NULL OR swept_epoch < epoch")

entries = Table(
    "entries",
    metadata,
    Column("namespace_id", BigInteger, ForeignKey("namespaces.id"), primary_key=True),
    Column("epoch", BigInteger, primary_key=True),  # only those of their namespace's own are there for anyone
    Column("key", LargeBinary, primary_key=True),  # UTF-8: bytes have one order, whatever the database
    Column("value", LargeBinary, nullable=False),  # UTF-8
    Column("expires_at", BigInteger),
    Column("changed_at", BigInteger, nullable=False),
)
partial_index("ix_entries_expiring", entries.c.expires_at, where="expires_at IS NOT NULL")
