"""The tables of receipts, and of the public keys that they are checked with."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
)

from piecework.server.store.engine.metadata import BigId, metadata

receipts = Table(
    "receipts",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt", Integer, nullable=False),  # the one that it is of
    Column("envelope", LargeBinary, nullable=False),  # JSON
)

public_keys = Table(
    "public_keys",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("keyid", String(32), nullable=False),
    Column("owner", String(8), nullable=False),  # worker | server
    Column("owner_id", BigInteger, nullable=False),  # the worker, which may be gone; 0: a server
    Column("public_key", LargeBinary(32), nullable=False),
    Column("first_seen", BigInteger, nullable=False),
    Column("replaced_at", BigInteger),  # its owner had another one from then on
    UniqueConstraint("keyid", "owner", "owner_id", name="uq_public_keys_owner"),
    CheckConstraint("owner = 'worker' OR owner = 'server'", name="owner"),
)
Index("ix_public_keys_owner_id", public_keys.c.owner_id)
