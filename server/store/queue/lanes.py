"""Lanes: a claim looks only into those that its worker matches."""

from collections.abc import Iterable
from functools import lru_cache

import msgspec
from sqlalchemy import Connection, bindparam, insert, literal_column, select

from piecework.protocol.matching import TagSet
from server.store.engine.statements import ByList, Statement, to_json
from server.store.engine.tables import jobs, lanes
from server.store.records import Lane

_columns = (lanes.c.id, lanes.c.runtime, lanes.c.necessary, lanes.c.rejected)
_insert = Statement(insert(lanes), *(column.name for column in _columns))
_by_content = Statement(
    select(lanes.c.id).where(
        lanes.c.runtime == bindparam("name"),
        lanes.c.necessary == bindparam("needs"),
        lanes.c.rejected == bindparam("rejects"),
    ),
    "name", "needs", "rejects",
)  # fmt: skip
# The state is spelled out, not bound: only then can the database use the index of the enqueued jobs alone. For
# EXISTS, PostgreSQL may look at every enqueued job; this way it looks at one for each lane.
_ready = select(jobs.c.id).where(jobs.c.lane_id == lanes.c.id, jobs.c.state == literal_column("'Enqueued'"))
_with_jobs = Statement(select(*_columns).where(_ready.limit(1).scalar_subquery().is_not(None)))
_by_ids = ByList(select(*_columns), lanes.c.id)


def ensure_lane(connection: Connection, runtime: str, tags: Iterable[str], new_id: int) -> int:
    """Return the id of the lane of jobs with this runtime and these tags; make it under ``new_id`` if need be."""
    parsed = TagSet.parse(tags)
    content = (runtime, to_json(sorted(parsed.necessary)), to_json(sorted(parsed.rejected)))
    found = _by_content.value(connection, *content)
    if found is None and connection.dialect.name == "postgresql":
        # Another server may make the same lane now: whoever comes second takes the first one's.
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415  # SQLite servers do not need it

        row = dict(zip(("id", "runtime", "necessary", "rejected"), (new_id, *content), strict=True))
        connection.execute(postgresql.insert(lanes).on_conflict_do_nothing(), row)
        found = _by_content.value(connection, *content)
    elif found is None:
        _insert.run(connection, new_id, *content)
        found = new_id
    assert isinstance(found, int)
    return found


def lanes_with_jobs(connection: Connection) -> list[Lane]:
    """Return the lanes in which a job can be contracted now."""
    return [_to_lane(*row) for row in _with_jobs.rows(connection)]


def find_lanes(connection: Connection, ids: Iterable[int]) -> list[Lane]:
    return [_to_lane(*row) for row in _by_ids.rows(connection, ids)]


@lru_cache(maxsize=10_000)
def _to_lane(id_: int, runtime: str, necessary: str, rejected: str) -> Lane:
    return Lane(id_, runtime, frozenset(msgspec.json.decode(necessary)), frozenset(msgspec.json.decode(rejected)))
