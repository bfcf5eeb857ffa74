"""The table of counters."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table

from piecework.server.store.engine.metadata import metadata

counters = Table(
    "counters",
    metadata,
    Column("unit_s", Integer, primary_key=True, autoincrement=False),  # how long the time is that it counts
    Column("start", BigInteger, primary_key=True, autoincrement=False),  # of that time, seconds since 1970
    Column("lambda_id", BigInteger, primary_key=True, autoincrement=False),  # or ALL, or OTHERS
    Column("content", LargeBinary, nullable=False),  # see server/store/queue/figures/tallies.py
)
