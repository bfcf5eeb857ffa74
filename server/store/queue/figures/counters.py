"""Counters: how many jobs of a lambda did what, in each minute, quarter of an hour, hour and day.

Transactions only note tallies, in the row that they put into the outbox of the feed anyway. Whoever gives numbers
to that row adds them up here, in the transaction that removes it: so nothing is counted twice or left out, and two
servers that submit or finish jobs never wait for each other's counters. They give numbers one at a time.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables.counters import counters
from piecework.server.store.queue.figures.tallies import Tally

K = TypeVar("K")
ALL = 0
"""Stands for all lambdas together."""
OTHERS = -1
"""Stands for the lambdas that have no counter of their own."""
TENANTS_MAX = 200
"""Tenants that are counted one by one in one minute, quarter, hour or day: the first that did something."""
LAMBDAS_MAX = 200
"""Lambdas that have counters of their own in one minute, quarter, hour or day: the first that did something."""

MINUTE_S, QUARTER_S, HOUR_S, DAY_S = 60, 900, 3600, 86_400
KEPT_S = {MINUTE_S: 3 * HOUR_S, QUARTER_S: 3 * DAY_S, HOUR_S: 15 * DAY_S, DAY_S: 400 * DAY_S}
"""How long each kind of counter is kept."""

_of_time = Statement(
    select(counters.c.lambda_id, counters.c.content)
    .where(counters.c.unit_s == bindparam("unit"), counters.c.start == bindparam("from")),
    "unit", "from",
)  # fmt: skip
_since = Statement(
    select(counters.c.start, counters.c.lambda_id, counters.c.content)
    .where(counters.c.unit_s == bindparam("unit"), counters.c.start >= bindparam("from"))
    .order_by(counters.c.start),
    "unit", "from",
)  # fmt: skip
_of_lambda = Statement(
    select(counters.c.start, counters.c.lambda_id, counters.c.content)
    .where(
        counters.c.unit_s == bindparam("unit"),
        counters.c.start >= bindparam("from"),
        counters.c.lambda_id == bindparam("which"),
    )
    .order_by(counters.c.start),
    "unit", "from", "which",
)  # fmt: skip
_insert = Statement(insert(counters), "unit_s", "start", "lambda_id", "content")
_update = Statement(
    update(counters)
    .where(
        counters.c.unit_s == bindparam("unit"),
        counters.c.start == bindparam("from"),
        counters.c.lambda_id == bindparam("which"),
    )
    .values(content=bindparam("value")),
    "unit", "from", "which", "value",
)  # fmt: skip
_delete = Statement(
    delete(counters).where(counters.c.unit_s == bindparam("unit"), counters.c.start < bindparam("before")),
    "unit", "before",
)  # fmt: skip

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Tally).decode


class Counted(NamedTuple):
    """What was counted of one lambda, or of ALL or OTHERS, in one time."""

    start: int
    """Seconds since 1970."""
    lambda_id: int
    tally: Tally


def add_tallies(connection: Connection, tallies: Iterable[Tally]) -> None:
    """Count what tallies tell. Only one transaction at a time may do so."""
    by_minute: dict[tuple[int, int], Tally] = {}
    for tally in tallies:
        _merge(by_minute, (tally.minute, tally.lambda_id), tally)
    by_time: defaultdict[tuple[int, int], dict[int, Tally]] = defaultdict(dict)
    for (minute, lambda_id), tally in by_minute.items():
        for unit_s in KEPT_S:
            found = by_time[unit_s, minute * 60 // unit_s * unit_s]
            _merge(found, ALL, tally)
            _merge(found, lambda_id, replace(tally, tenants={}))
    for (unit_s, start), found in sorted(by_time.items()):
        _store(connection, unit_s, start, found)


def _merge(found: dict[K, Tally], key: K, tally: Tally) -> None:
    if key not in found:
        found[key] = Tally(0, 0)
    found[key].add(tally)


def _store(connection: Connection, unit_s: int, start: int, found: dict[int, Tally]) -> None:
    known: dict[int, bytes] = dict(_of_time.rows(connection, unit_s, start))
    room = LAMBDAS_MAX - sum(id_ > 0 for id_ in known)
    for id_ in [id_ for id_ in found if id_ > 0 and id_ not in known]:
        if room > 0:
            room -= 1
        else:
            _merge(found, OTHERS, found.pop(id_))
    changed, new = [], []
    for id_, tally in found.items():
        if id_ in known:
            before = _decode(known[id_])
            _leave_out(tally.tenants, before.tenants)
            tally.add(before)
            changed.append((unit_s, start, id_, _encode(tally)))
        else:
            _leave_out(tally.tenants, {})
            new.append((unit_s, start, id_, _encode(tally)))
    _update.run_many(connection, changed)
    _insert.run_many(connection, new)


def _leave_out(tenants: dict[int, dict[str, int]], known: Mapping[int, object]) -> None:
    """Remove tenants for which there is no room beside those that are known."""
    room = TENANTS_MAX - len(known)
    new = [number for number in tenants if number not in known]
    for number in new[max(room, 0) :]:
        del tenants[number]


def read_counters(
    connection: Connection, unit_s: int, since_s: int, lambda_ids: Sequence[int] | None = None
) -> list[Counted]:
    """Return the counters of times that begin at ``since_s`` or later: of all, or of some lambdas."""
    if lambda_ids is None:
        rows = _since.rows(connection, unit_s, since_s)
    else:
        rows = [row for each in lambda_ids for row in _of_lambda.rows(connection, unit_s, since_s, each)]
    return [Counted(start, id_, _decode(content)) for start, id_, content in rows]


def forget_counters(connection: Connection, now_s: int) -> int:
    """Remove counters that are too old. Returns how many."""
    return sum(_delete.run(connection, unit_s, now_s - kept_s) for unit_s, kept_s in KEPT_S.items())
