import sqlalchemy as sa
from alembic import op
from next_release import last_revision, stand_still

revision = "9001"
down_revision = last_revision()

phase = "expand"
remark = "one column without a value: no rows are read or written"


def upgrade():
    op.add_column("jobs", sa.Column("tint", sa.Text(), nullable=True))
    stand_still(revision)


def downgrade():
    op.drop_column("jobs", "tint")
    stand_still(revision)
