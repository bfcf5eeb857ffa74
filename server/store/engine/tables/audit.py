"""The table of the audit."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table

from piecework.server.store.engine.metadata import BigId, metadata

TEXT_MAX = 500
"""Characters that are kept of what an act was done to, and of its details."""

audit = Table(
    "audit",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),  # of what is counted: the minute
    Column("by", String(8), nullable=False),  # an ActorKind, see piecework/protocol/messages/stock/audit.py
    Column("who", String(100), nullable=False),  # the name of the token; empty where there is none
    Column("act", String(40), nullable=False),
    Column("target", String(TEXT_MAX), nullable=False),  # empty: it is in the act, or several
    Column("detail", String(TEXT_MAX), nullable=False),
    Column("times", Integer, nullable=False),  # of jobs, or of requests
)
Index("ix_audit_act_at", audit.c.act, audit.c.at)
Index("ix_audit_who_id", audit.c.who, audit.c.id)
