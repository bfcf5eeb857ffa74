"""The table of steps of work on many jobs."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table

from piecework.server.store.engine.metadata import BigId, metadata

bulk_steps = Table(
    "bulk_steps",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("key", String(255), nullable=False),  # of the work that it is a step of
    Column("action", String(8), nullable=False),  # a BulkAction
    Column("at", BigInteger, nullable=False),
    Column("job_ids", LargeBinary, nullable=False),  # 8 bytes each, big-endian: the jobs that it changed or made
    Index("ix_bulk_steps_key", "key", "id"),
    Index("ix_bulk_steps_at", "at"),
)
