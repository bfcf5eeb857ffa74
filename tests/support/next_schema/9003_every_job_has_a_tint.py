from alembic import op
from next_release import stand_still

from piecework.migrations.online import execute, update_in_batches

revision = "9003"
down_revision = "9002"

phase = "contract"
oldest = "9002"
in_transaction = False
remark = "reads every job once"

REFUSE = (
    "CREATE TRIGGER needs_tint BEFORE INSERT ON jobs WHEN NEW.tint IS NULL"
    " BEGIN SELECT RAISE(ABORT, 'a job needs a tint'); END"
)


def upgrade():
    if op.get_context().dialect.name == "sqlite":
        update_in_batches("jobs", "tint = 'old'", "tint IS NULL")
        op.execute(REFUSE)
    else:
        execute("ALTER TABLE jobs DROP CONSTRAINT IF EXISTS ck_jobs_tint")
        execute("ALTER TABLE jobs ADD CONSTRAINT ck_jobs_tint CHECK (tint IS NOT NULL) NOT VALID")
        update_in_batches("jobs", "tint = 'old'", "tint IS NULL", rows=50)
        execute("ALTER TABLE jobs VALIDATE CONSTRAINT ck_jobs_tint")
        execute("ALTER TABLE jobs ALTER COLUMN tint SET NOT NULL")
        execute("ALTER TABLE jobs DROP CONSTRAINT ck_jobs_tint")
    stand_still(revision)
