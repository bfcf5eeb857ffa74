"""The tables of votes: what owners of workers said that jobs give, and how far owners are believed."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table

from piecework.server.store.engine.metadata import metadata, partial_index

votes = Table(
    "votes",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("owner", String(130), primary_key=True),
    Column("worker_id", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),  # SHA-256, hex, of what the job gave
    Column("diverse", Boolean, nullable=False),  # an engine ran it that is not the usual one
    Column("alone", Boolean, nullable=False),  # it was accepted because its owner is believed
    Column("at", BigInteger, nullable=False),
)
Index("ix_votes_owner", votes.c.owner, votes.c.job_id)

owners = Table(
    "owners",
    metadata,
    Column("name", String(130), primary_key=True),
    Column("streak", Integer, nullable=False),  # results in a row that another owner agreed with
    Column("agreed", BigInteger, nullable=False),
    Column("wrong", BigInteger, nullable=False),
    Column("caught_at", BigInteger),  # when one of its results last was not the right one
)
partial_index("ix_owners_caught_at", owners.c.caught_at, where="caught_at IS NOT NULL")
