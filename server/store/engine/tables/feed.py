"""The tables of the feed of what happens to jobs."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table

from piecework.server.store.engine.metadata import BigId, metadata

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("content", LargeBinary, nullable=False),  # see server/store/queue/figures/feed.py
    Column("tallies", LargeBinary),  # see server/store/queue/figures/tallies.py; NULL: none
)

feed = Table(
    "feed",
    metadata,
    Column("last", BigId, primary_key=True, autoincrement=False),  # the number of the last change in it
    Column("count", Integer, nullable=False),  # changes in it: their numbers have no gaps
    Column("at", BigInteger, nullable=False),  # when it was put together
    Column("content", LargeBinary, nullable=False),  # as in the outbox
)

feed_heads = Table(
    "feed_heads",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),  # 1: there is one row
    Column("last", BigInteger, nullable=False),  # the number that was given last
)
