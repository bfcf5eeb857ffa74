"""Lanes: a claim looks only into those that its worker matches.

The lanes of one tenant have ids that lie together. So the index of enqueued jobs, which is ordered by priority and
lane, leads a claim from tenant to tenant, and to what it finds there it comes without looking at all the others.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Connection,
    bindparam,
    cast,
    func,
    insert,
    literal_column,
    select,
)

from piecework.protocol.ids import ID_MAX
from piecework.protocol.matching import TagSet
from piecework.server.store.engine.statements import ByList, Statement, to_json
from piecework.server.store.engine.tables import jobs, lanes, tenants
from piecework.server.store.queue.leasing.holds import MARK, NO_HOLDS, find_holds
from piecework.server.store.queue.leasing.tenants import ensure_tenant
from piecework.server.store.records import Lane

LANES_BITS = 20
"""A tenant's lanes have ids from its number times 2^20 on."""
BLOCKS_END = 1 << 48
"""Lanes of nobody have ids like other objects, which are larger than this."""
TOP = 101
"""Above every priority."""

_columns = (lanes.c.id, lanes.c.runtime, lanes.c.necessary, lanes.c.rejected, lanes.c.tenant)
_insert = Statement(insert(lanes), *(column.name for column in _columns))
_by_content = Statement(
    select(lanes.c.id).where(
        lanes.c.runtime == bindparam("name"),
        lanes.c.necessary == bindparam("needs"),
        lanes.c.rejected == bindparam("rejects"),
        lanes.c.tenant == bindparam("whose"),
    ),
    "name", "needs", "rejects", "whose",
)  # fmt: skip
_largest = Statement(
    select(func.max(lanes.c.id)).where(lanes.c.id >= bindparam("first"), lanes.c.id < bindparam("end")),
    "first", "end",
)  # fmt: skip
_of_runtime = Statement(
    select(lanes.c.id).where(lanes.c.runtime == bindparam("name")).limit(literal_column("1")), "name"
)
_by_ids = ByList(select(*_columns), lanes.c.id)


def _write_groups() -> Statement:
    """Return the statement that goes from one priority and lane to the next, with one look at an index for each.

    The state is spelled out, not bound: only then can the database use the index of the enqueued jobs alone.
    """
    enqueued = jobs.c.state == literal_column("'Enqueued'")
    start: Any = select(
        literal_column("0").label("step"),
        cast(bindparam("level"), BigInteger).label("priority"),
        cast(bindparam("lane"), BigInteger).label("lane_id"),
        cast(literal_column("0"), BigInteger).label("head"),
    )
    groups = start.cte("groups", recursive=True)
    beside = (
        select(jobs.c.id)
        .where(enqueued, jobs.c.priority == groups.c.priority, jobs.c.lane_id > groups.c.lane_id)
        .order_by(jobs.c.lane_id, jobs.c.id)
        .limit(literal_column("1"))
        .scalar_subquery()
    )
    below = (
        select(jobs.c.id)
        .where(enqueued, jobs.c.priority < groups.c.priority)
        .order_by(jobs.c.priority.desc(), jobs.c.lane_id, jobs.c.id)
        .limit(literal_column("1"))
        .scalar_subquery()
    )
    first = jobs.alias("first")
    groups = groups.union_all(
        select(
            groups.c.step + literal_column("1"),
            cast(first.c.priority, BigInteger),
            first.c.lane_id,
            first.c.id,
        )
        .select_from(groups.join(first, first.c.id == func.coalesce(beside, below)))
        .where(groups.c.step < bindparam("most"))
    )
    return Statement(
        select(
            groups.c.priority, groups.c.head, func.coalesce(tenants.c.weight, literal_column("1")), MARK, *_columns
        )
        .select_from(
            groups.join(lanes, lanes.c.id == groups.c.lane_id).outerjoin(
                tenants, tenants.c.name == lanes.c.tenant
            )
        )
        .where(groups.c.step > literal_column("0")),
        "level", "lane", "most",
    )  # fmt: skip


_groups = _write_groups()


class Group(NamedTuple):
    """The enqueued jobs of one priority in one lane."""

    priority: int
    head: int
    """The id of the first of them."""
    weight: int
    """Of the lane's tenant."""
    mark: int
    """What ``holds.MARK`` is, the same for all."""
    lane: Lane


def ensure_lane(
    connection: Connection, runtime: str, tags: Iterable[str], new_id: Callable[[], int], tenant: str = ""
) -> int:
    """Return the id of the lane of a tenant's jobs with this runtime and these tags; make it if need be.

    ``new_id`` gives one for a lane of nobody's; a tenant's gets an id beside its others.
    """
    content = (runtime, *_write_tags(tuple(tags)), tenant)
    found = _by_content.value(connection, *content)
    while found is None:
        id_ = _next_id(connection, tenant, new_id) if tenant else new_id()
        if connection.dialect.name == "postgresql":
            # Another server may make the same lane now, or one with this id: whoever comes second looks anew.
            from sqlalchemy.dialects import postgresql  # noqa: PLC0415  # SQLite servers do not need it

            row = dict(zip((column.name for column in _columns), (id_, *content), strict=True))
            connection.execute(postgresql.insert(lanes).on_conflict_do_nothing(), row)
            found = _by_content.value(connection, *content)
        else:
            _insert.run(connection, id_, *content)
            found = id_
    assert isinstance(found, int)
    return found


@lru_cache(maxsize=1000)
def _write_tags(tags: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Return the necessary and the rejected ones as they are stored."""
    parsed = TagSet.parse(tags)
    return to_json(sorted(parsed.necessary)), to_json(sorted(parsed.rejected))


def _next_id(connection: Connection, tenant: str, new_id: Callable[[], int]) -> int:
    """Return an id behind those of a tenant's other lanes; a new one when there is no room."""
    first = ensure_tenant(connection, tenant) << LANES_BITS
    end = first + (1 << LANES_BITS)
    largest = _largest.value(connection, first, end)
    id_ = first if largest is None else largest + 1
    return id_ if id_ < end else new_id()


def tenant_of(lane_id: int) -> int | None:
    """Return the number of the tenant whose lane it is; None: nobody's."""
    return lane_id >> LANES_BITS if lane_id < BLOCKS_END else None


def block_of(lane: Lane) -> tuple[int, int]:
    """Return the smallest and the largest id that a lane of the same tenant can have."""
    if not lane.tenant or lane.id >= BLOCKS_END:
        return BLOCKS_END, ID_MAX
    first = lane.id >> LANES_BITS << LANES_BITS
    return first, first + (1 << LANES_BITS) - 1


def find_groups(connection: Connection, priority: int, after: int, most: int) -> list[Group]:
    """Return what is enqueued behind a place, ``most`` groups at most.

    First come the lanes of this priority with ids above ``after``, in their order, then those of lower priorities.
    """
    rows = _groups.rows(connection, priority, after, most)
    return [Group(level, head, weight, int(mark), _to_lane(*lane)) for level, head, weight, mark, *lane in rows]


def lanes_with_jobs(connection: Connection) -> list[Lane]:
    """Return the lanes in which a job can be contracted now."""
    return list(dict.fromkeys(group.lane for group in groups_with_jobs(connection)))


def groups_with_jobs(connection: Connection) -> list[Group]:
    """Return what can be contracted now, by priority and lane."""
    groups = find_groups(connection, TOP, 0, ID_MAX)
    held = find_holds(connection) if groups and groups[0].mark else NO_HOLDS
    return [group for group in groups if not held.keep_lane(group.lane)]


def has_runtime(connection: Connection, runtime: str) -> bool:
    """Tell whether jobs ever asked for a runtime, of those that are kept."""
    return _of_runtime.value(connection, runtime) is not None


def find_lanes(connection: Connection, ids: Iterable[int]) -> list[Lane]:
    return [_to_lane(*row) for row in _by_ids.rows(connection, ids)]


@lru_cache(maxsize=10_000)
def _to_lane(id_: int, runtime: str, necessary: str, rejected: str, tenant: str) -> Lane:
    needs, rejects = (frozenset(msgspec.json.decode(each)) for each in (necessary, rejected))
    return Lane(id_, runtime, needs, rejects, tenant)
