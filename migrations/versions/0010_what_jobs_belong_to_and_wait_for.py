"""What jobs belong to (a group, a tenant, keys with limits), what they wait for, and how long they stay."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

COLUMNS = (
    ("group_id", sa.BigInteger()),
    ("submitter", sa.String(length=100)),
    ("waits", sa.String(length=8)),
    ("pending", sa.Integer()),
    ("retry_of", sa.BigInteger()),
    ("concurrency_key", sa.String(length=255)),
    ("rate_key", sa.String(length=255)),
    ("retain_ms", sa.BigInteger()),
)
INDEXES = (
    ("ix_jobs_ended", ("state", "finished_at"), "finished_at IS NOT NULL"),
    ("ix_jobs_group", ("group_id", "id"), "group_id IS NOT NULL"),
    ("ix_jobs_retry_of", ("retry_of",), "retry_of IS NOT NULL"),
)
OLD_WAITING = "state <> 'Waiting' OR due_at IS NOT NULL"
WAITING = "state <> 'Waiting' OR due_at IS NOT NULL OR waits IS NOT NULL"
WAITS = (
    "waits IS NULL OR (waits = 'after' OR waits = 'key' OR waits = 'rate') AND state = 'Waiting'"
    " OR waits = 'hold' AND state = 'Paused'"
)


def upgrade() -> None:
    indexes = drop_indexes("jobs")
    with op.batch_alter_table("jobs") as jobs:
        for name, type_ in COLUMNS:
            jobs.add_column(sa.Column(name, type_, nullable=True))
        jobs.drop_constraint(op.f("ck_jobs_waiting"), type_="check")
        jobs.create_check_constraint(op.f("ck_jobs_waiting"), sa.text(WAITING))
        jobs.create_check_constraint(op.f("ck_jobs_waits"), sa.text(WAITS))
    restore(indexes)
    for name, columns, where in INDEXES:
        op.create_index(name, "jobs", list(columns), sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    with op.batch_alter_table("lanes") as lanes:
        lanes.add_column(sa.Column("tenant", sa.String(length=100), nullable=False, server_default=""))
        lanes.drop_constraint("uq_lanes_content", type_="unique")
        lanes.create_unique_constraint("uq_lanes_content", ["runtime", "necessary", "rejected", "tenant"])
    with op.batch_alter_table("lanes") as lanes:
        lanes.alter_column("tenant", server_default=None)


def downgrade() -> None:
    """Go back. What waits for anything but a time is paused; the jobs of all tenants share lanes again."""
    op.execute("UPDATE jobs SET state = 'Paused', waits = NULL WHERE waits IS NOT NULL")
    op.execute(
        "UPDATE jobs SET lane_id = (SELECT min(others.id) FROM lanes AS others JOIN lanes AS own ON"
        " own.runtime = others.runtime AND own.necessary = others.necessary AND own.rejected = others.rejected"
        " WHERE own.id = jobs.lane_id)"
    )
    op.execute("DELETE FROM lanes WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.lane_id = lanes.id)")
    for name, _, _ in INDEXES:
        op.drop_index(name, "jobs")
    indexes = drop_indexes("jobs")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_constraint(op.f("ck_jobs_waits"), type_="check")
        jobs.drop_constraint(op.f("ck_jobs_waiting"), type_="check")
        jobs.create_check_constraint(op.f("ck_jobs_waiting"), sa.text(OLD_WAITING))
        for name, _ in COLUMNS:
            jobs.drop_column(name)
    restore(indexes)
    with op.batch_alter_table("lanes") as lanes:
        lanes.drop_constraint("uq_lanes_content", type_="unique")
        lanes.create_unique_constraint("uq_lanes_content", ["runtime", "necessary", "rejected"])
        lanes.drop_column("tenant")


def drop_indexes(table: str) -> list[str]:
    """Drop a table's indexes on SQLite, where it is made anew, and return how to make them."""
    if op.get_context().dialect.name != "sqlite":
        return []
    select = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL"
    indexes = op.get_bind().exec_driver_sql(select, (table,)).all()
    for name, _ in indexes:
        op.drop_index(name, table)
    return [statement for _, statement in indexes]


def restore(indexes: list[str]) -> None:
    for statement in indexes:
        op.execute(statement)
