"""The tables of memos: results of deterministic jobs that equal jobs are answered with."""

from sqlalchemy import BigInteger, Column, Index, String, Table, Text

from piecework.server.store.engine.metadata import metadata, partial_index

memos = Table(
    "memos",
    metadata,
    Column("key", String(64), primary_key=True),  # SHA-256, hex, of all that decides the result
    Column("code_sha256", String(64), nullable=False),  # hex
    Column("job_id", BigInteger, nullable=False),  # the job that makes, or made, the result; it may be gone
    Column("state", String(16)),  # the final one; NULL: it has not ended
    Column("output_id", BigInteger),
    Column("error", Text),  # JSON
    Column("usage", Text),  # JSON
    Column("hits", BigInteger, nullable=False),  # jobs that were answered with it
    Column("used_at", BigInteger, nullable=False),
    Index("ix_memos_code_sha256", "code_sha256"),
    Index("ix_memos_used_at", "used_at"),
)
partial_index("ix_memos_output_id", memos.c.output_id, where="output_id IS NOT NULL")

memo_stops = Table(
    "memo_stops",
    metadata,
    Column("code_sha256", String(64), primary_key=True),  # of code that gave two results for one job
    Column("at", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
)
