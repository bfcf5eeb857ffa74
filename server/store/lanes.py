"""Lanes: a claim looks only into those that its worker matches."""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, exists, insert, literal_column, select

from piecework.protocol.matching import TagSet
from server.store.records import Lane
from server.store.tables import jobs, lanes

_insert = insert(lanes)
_by_content = select(lanes.c.id).where(
    lanes.c.runtime == bindparam("runtime"),
    lanes.c.necessary == bindparam("necessary"),
    lanes.c.rejected == bindparam("rejected"),
)
_columns = (lanes.c.id, lanes.c.runtime, lanes.c.necessary, lanes.c.rejected)
# The state is spelled out, not bound: only then can the database use the index of the enqueued jobs alone.
_with_jobs = select(*_columns).where(
    exists().where(jobs.c.lane_id == lanes.c.id, jobs.c.state == literal_column("'Enqueued'"))
)
_by_ids = select(*_columns).where(lanes.c.id.in_(bindparam("ids", expanding=True)))


def ensure_lane(connection: Connection, runtime: str, tags: Iterable[str], new_id: int) -> int:
    """Return the id of the lane of jobs with this runtime and these tags; make it under ``new_id`` if need be."""
    sorted_tags = TagSet.parse(tags)
    content = {
        "runtime": runtime,
        "necessary": msgspec.json.encode(sorted(sorted_tags.necessary)).decode(),
        "rejected": msgspec.json.encode(sorted(sorted_tags.rejected)).decode(),
    }
    found = connection.execute(_by_content, content).scalar()
    if found is None and connection.dialect.name == "postgresql":
        # Another server may make the same lane now: whoever comes second takes the first one's.
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415  # SQLite servers do not need it

        connection.execute(postgresql.insert(lanes).on_conflict_do_nothing(), {"id": new_id, **content})
        found = connection.execute(_by_content, content).scalar()
    elif found is None:
        connection.execute(_insert, {"id": new_id, **content})
        found = new_id
    assert found is not None
    return found


def lanes_with_jobs(connection: Connection) -> list[Lane]:
    """Return the lanes in which a job can be contracted now."""
    return [_to_lane(row) for row in connection.execute(_with_jobs).all()]


def find_lanes(connection: Connection, ids: Iterable[int]) -> list[Lane]:
    return [_to_lane(row) for row in connection.execute(_by_ids, {"ids": sorted(ids)}).all()]


def _to_lane(row: Row[*tuple[Any, ...]]) -> Lane:
    necessary, rejected = msgspec.json.decode(row.necessary), msgspec.json.decode(row.rejected)
    return Lane(row.id, row.runtime, frozenset(necessary), frozenset(rejected))
