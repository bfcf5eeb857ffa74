"""Lambdas found by name and by the digest of their code; what the files were called that became blobs."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

INDEXES = (
    ("ix_lambdas_name", ("name", "id"), "name IS NOT NULL"),
    ("ix_lambdas_codex_sha256", ("codex_sha256", "id"), "codex_sha256 IS NOT NULL"),
)


def upgrade() -> None:
    op.add_column("lambdas", sa.Column("codex_sha256", sa.LargeBinary(32), nullable=True))
    op.execute("UPDATE lambdas SET codex_sha256 = (SELECT sha256 FROM blobs WHERE blobs.id = lambdas.codex)")
    for name, columns, where in INDEXES:
        op.create_index(
            name, "lambdas", list(columns), sqlite_where=sa.text(where), postgresql_where=sa.text(where)
        )
    op.add_column("blobs", sa.Column("name", sa.String(255), nullable=True))


def downgrade() -> None:
    for name, _, _ in INDEXES:
        op.drop_index(name, "lambdas")
    op.drop_column("lambdas", "codex_sha256")
    op.drop_column("blobs", "name")
