"""One event for each lease, and cheaper checks of jobs.

A lease's event is stored when it ends, and says since when it was held; what is still in the job's row is not
stored twice. On SQLite, a check with ``state IN (...)`` made a table of the list for each row that was written,
which took half of the time of the write.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

FINAL = ("Finished", "Fail_Execution", "Cancelled")
STATES = ("Paused", "Waiting", "Enqueued", "PreAssigned", "Running", *FINAL)


def upgrade() -> None:
    op.add_column("events", sa.Column("since", sa.BigInteger(), nullable=True))
    op.execute("UPDATE events SET detail = 'submitted' WHERE id IN (SELECT min(id) FROM events GROUP BY job_id)")
    # Jobs that run now get the event of their lease when it ends, with its beginning.
    op.execute(
        "DELETE FROM events WHERE state = 'Running' AND detail = '' AND EXISTS (SELECT 1 FROM jobs"
        " WHERE jobs.id = events.job_id AND jobs.state = 'Running' AND jobs.lease = events.lease)"
    )
    if op.get_context().dialect.name == "sqlite":
        rewrite_checks()


def downgrade() -> None:
    """Go back. Traces lose when leases began that have ended; the checks stay, they mean the same."""
    op.execute(
        "INSERT INTO events (job_id, at, state, worker_id, attempt, lease, detail) SELECT id, started_at, state,"
        " worker_id, attempt, lease, '' FROM jobs WHERE state = 'Running'"
    )
    op.drop_column("events", "since")


def rewrite_checks() -> None:
    """Move the jobs into a table with the same rules, two of them spelled in another way."""
    indexes = (
        op.get_bind()
        .exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'jobs' AND sql IS NOT NULL"
        )
        .all()
    )
    for name, _ in indexes:
        op.drop_index(name, "jobs")
    with op.batch_alter_table("jobs", recreate="always") as jobs:
        jobs.drop_constraint(op.f("ck_jobs_state"), type_="check")
        jobs.drop_constraint(op.f("ck_jobs_final"), type_="check")
        jobs.create_check_constraint(op.f("ck_jobs_state"), sa.text(one_of(STATES)))
        jobs.create_check_constraint(
            op.f("ck_jobs_final"), sa.text(f"(finished_at IS NOT NULL) = ({one_of(FINAL)})")
        )
    for _, statement in indexes:
        op.execute(statement)


def one_of(states: tuple[str, ...]) -> str:
    return " OR ".join(f"state = '{state}'" for state in states)
