"""Other lanes for new jobs, whose ids are smaller than those of the jobs that there are.

Within a lane the job with the smallest id comes first. The ids of new jobs fit into 53 bits, those of older ones
do not: in one lane, new jobs would pass the old by. A lane is found by the text of its tags, so a space that means
nothing leaves a lane to the jobs that it has.
"""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("UPDATE lanes SET necessary = necessary || ' '")


def downgrade() -> None:
    """Go back. Lanes that have a new one with the same content stay as they are."""
    op.execute(
        "UPDATE lanes SET necessary = rtrim(necessary) WHERE NOT EXISTS (SELECT 1 FROM lanes AS others WHERE"
        " others.runtime = lanes.runtime AND others.necessary = rtrim(lanes.necessary)"
        " AND others.rejected = lanes.rejected)"
    )
