"""Namespaces, and the keys and values in them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "namespaces",
        sa.Column("id", BigId, autoincrement=False, nullable=False),
        sa.Column("consistency", sa.String(length=10), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("swept_epoch", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "consistency = 'none' OR consistency = 'eventual'", name=op.f("ck_namespaces_consistency")
        ),
        sa.CheckConstraint("swept_epoch <= epoch", name=op.f("ck_namespaces_epochs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_namespaces")),
    )
    create_partial_index(
        "ix_namespaces_unswept", "namespaces", "id", "removed_at IS NOT NULL OR swept_epoch < epoch"
    )
    op.create_table(
        "entries",
        sa.Column("namespace_id", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"], name=op.f("fk_entries_namespace_id")),
        sa.PrimaryKeyConstraint("namespace_id", "epoch", "key", name=op.f("pk_entries")),
    )
    create_partial_index("ix_entries_expiring", "entries", "expires_at", "expires_at IS NOT NULL")


def downgrade() -> None:
    op.drop_table("entries")
    op.drop_table("namespaces")


def create_partial_index(name: str, table: str, column: str, where: str) -> None:
    op.create_index(name, table, [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
