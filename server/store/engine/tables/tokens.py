"""The tables of access tokens, of how much those with a quota have used of it, and of what signs sessions."""

from sqlalchemy import BigInteger, Column, LargeBinary, String, Table, Text

from piecework.server.store.engine.metadata import BigId, metadata

tokens = Table(
    "tokens",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("name", String(100), nullable=False),
    Column("scope", String(10), nullable=False),
    Column("sha256", LargeBinary(32), nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("expires_at", BigInteger),  # None: never
    Column("used_at", BigInteger),  # it was let in last, to the minute; None: never
    Column("quota", Text),  # JSON of piecework.server.store.stock.quotas.Quota; NULL: it has none
)

quotas = Table(
    "quotas",
    metadata,
    Column("name", String(100), primary_key=True),  # of the tokens whose jobs are counted; locked while they are
    Column(
        "full_at_us", BigInteger, nullable=False
    ),  # microseconds since 1970: when the whole rate is there again
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("name", String(20), primary_key=True),  # what is signed with it
    Column("key", LargeBinary(32), nullable=False),
)
