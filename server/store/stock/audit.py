"""The audit: who did what, when."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from piecework.protocol.messages import ActorKind
from piecework.server.store.engine.statements import Statement, without_nul
from piecework.server.store.engine.tables.audit import TEXT_MAX, audit

SUBMIT = "submit jobs"
_COUNT = "acted_on"

_columns = (audit.c.at, audit.c.by, audit.c.who, audit.c.act, audit.c.target, audit.c.detail, audit.c.times)
_insert = Statement(insert(audit).returning(audit.c.id), *(column.name for column in _columns))
_add = Statement(
    update(audit)
    .where(audit.c.id == bindparam("row"))
    .values(times=audit.c.times + bindparam("more")),
    "row", "more",
)  # fmt: skip
_fail = Statement(
    update(audit)
    .where(audit.c.id == bindparam("row"), audit.c.act == bindparam("what"), audit.c.at == bindparam("when"))
    .values(detail=bindparam("how"), times=0),
    "row", "what", "when", "how",
)  # fmt: skip
_counted = Statement(
    select(audit.c.id, audit.c.by, audit.c.who, audit.c.target)
    .where(audit.c.act == bindparam("what"), audit.c.at == bindparam("when")),
    "what", "when",
)  # fmt: skip
_newest = Statement(select(func.max(audit.c.id)))
_last = Statement(select(func.max(audit.c.at)).where(audit.c.act == bindparam("what")), "what")
_oldest = Statement(select(audit.c.id, audit.c.at).order_by(audit.c.id).limit(bindparam("most")), "most")
_delete = Statement(delete(audit).where(audit.c.id <= bindparam("row")), "row")


class Actor(NamedTuple):
    """Who acts."""

    by: ActorKind
    who: str = ""
    """The name of a token, or of a user of this machine."""


@dataclass
class Act:
    """Something that somebody does."""

    actor: Actor
    at: int
    act: str
    target: str = ""
    detail: str = ""
    row: int | None = None
    """Of the table, once it was stored."""

    def values(self, count: int) -> tuple[object, ...]:
        cut = (without_nul(text[:TEXT_MAX]) for text in (self.target, self.detail))
        return (self.at, self.actor.by, self.actor.who, self.act, *cut, count)


class AuditRow(NamedTuple):
    """What somebody did."""

    id: int
    at: int
    by: ActorKind
    who: str
    act: str
    target: str
    detail: str
    times: int
    """On how many jobs it was done, or by how many requests."""


class AuditFilter(NamedTuple):
    """Which acts are meant; None does not restrict."""

    who: str | None = None
    act: str | None = None
    """The whole word, or its beginning."""
    target: str | None = None
    since: int | None = None
    until: int | None = None


class Count(NamedTuple):
    """How often somebody did in a minute what is only counted."""

    actor: Actor
    act: str
    at: int
    """When the minute began."""
    target: str = ""
    detail: str = ""


def count_act(connection: Connection, count: int) -> None:
    """Say on how many things the act that this transaction is part of is done; otherwise it is one."""
    connection.info[_COUNT] = connection.info.get(_COUNT, 0) + count


def store_act(connection: Connection, act: Act, count: int = 1) -> int:
    """Store an act. Returns the number of its row."""
    row = _insert.value(connection, *act.values(count))
    assert isinstance(row, int)
    return row


def begin_count(connection: Connection) -> None:
    """Begin to count on how many things an act is done."""
    connection.info.pop(_COUNT, None)


def store_counted(connection: Connection, act: Act, row: int | None) -> int | None:
    """Store an act with what was counted since ``begin_count``, or add that to its row. Returns the row."""
    count = connection.info.pop(_COUNT, None)
    if row is None:
        return None if count == 0 else store_act(connection, act, 1 if count is None else count)
    if count:
        _add.run(connection, row, count)
    return row


def add_times(connection: Connection, row: int, count: int) -> bool:
    """Add to how often something was done. Returns False when the row is gone."""
    return _add.run(connection, row, count) > 0


def mark_failed(connection: Connection, act: Act, why: str) -> None:
    """Note that an act whose row is stored was refused in the end."""
    assert act.row is not None
    _fail.run(connection, act.row, act.act, act.at, without_nul(f"refused: {why}"[:TEXT_MAX]))


def add_counts(connection: Connection, counts: Counter[Count]) -> None:
    """Add what is only counted to the rows of its minutes. Only one transaction at a time may do so for an act."""
    for act, at in sorted({(each.act, each.at) for each in counts}):
        known = {row[1:]: row[0] for row in _counted.rows(connection, act, at)}
        for each, count in counts.items():
            if (each.act, each.at) != (act, at):
                continue
            if found := known.get((*each.actor, each.target)):
                _add.run(connection, found, count)
            else:
                store_act(connection, Act(each.actor, each.at, each.act, each.target), count)


def list_acts(connection: Connection, which: AuditFilter, *, before: int, limit: int) -> list[AuditRow]:
    """Return acts that are meant and older than a row, newest first."""
    wanted = select(audit.c.id, *_columns).where(audit.c.id < before).order_by(audit.c.id.desc()).limit(limit)
    if which.who is not None:
        wanted = wanted.where(audit.c.who == which.who)
    if which.act is not None:
        wanted = wanted.where(audit.c.act.startswith(which.act, autoescape=True))
    if which.target is not None:
        wanted = wanted.where(audit.c.target == which.target)
    if which.since is not None:
        wanted = wanted.where(audit.c.at >= which.since)
    if which.until is not None:
        wanted = wanted.where(audit.c.at < which.until)
    return [AuditRow(*row) for row in connection.execute(wanted).all()]


def find_last(connection: Connection, act: str) -> int | None:
    """Return when something was done last; None when it is not known to have been."""
    found: int | None = _last.value(connection, act)
    return found


def forget_acts(connection: Connection, before: int, keep: int, most: int) -> int:
    """Remove the oldest rows: from before a time, and beyond ``keep`` of them. Returns how many it looked at."""
    upto = (_newest.value(connection) or 0) - keep
    oldest: Sequence[tuple[int, int]] = _oldest.rows(connection, most)
    gone = [id_ for id_, at in oldest if at < before or id_ <= upto]
    if gone:
        _delete.run(connection, max(gone))
    return len(gone)
