"""Which servers may use the schema: the database says so itself, for older programs do not know what is new."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"

phase = "contract"
oldest = "0028"
remark = "one small table, and one column without a value: no rows are read or written"


def upgrade() -> None:
    op.create_table(
        "schema_contract",
        sa.Column("revision", sa.String(length=32), nullable=False),
        sa.Column("oldest", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_schema_contract")),
    )
    op.add_column("servers", sa.Column("schema", sa.String(length=32), nullable=True))


def downgrade() -> None:
    op.drop_column("servers", "schema")
    op.drop_table("schema_contract")
