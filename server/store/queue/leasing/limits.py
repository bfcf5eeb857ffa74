"""Limits by key: one row for each. ``Kind`` tells how many jobs run at once from how many start in a time.

Whoever starts, ends or holds back jobs of a key has locked its row: concurrency keys first, then rate keys, in the
order of their names.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, literal_column, select, update

from piecework.server.store.engine.statements import ByList, Statement
from piecework.server.store.engine.tables import limits

Kind = Literal["concurrency", "rate"]
KINDS: tuple[Kind, ...] = ("concurrency", "rate")


class LimitName(NamedTuple):
    """What names a limit."""

    kind: Kind
    key: str


@dataclass(slots=True)
class Limit:
    """One limit as it stands."""

    kind: Kind
    key: str
    said: int | None = None
    """What the newest submission that said one set, or its lambda."""
    said_period_ms: int | None = None
    ruled: int | None = None
    """What an operator set: it counts instead."""
    ruled_period_ms: int | None = None
    running: int = 0
    """Leased jobs of a concurrency key."""
    starts: str | None = None
    """When jobs of a rate key started."""
    wake_at: int | None = None
    """When to look for jobs that wait and may start."""
    used_at: int = 0

    @property
    def name(self) -> LimitName:
        return LimitName(self.kind, self.key)

    @property
    def most(self) -> int | None:
        """How many jobs may run at once, or start in a period; None: any number."""
        return self.said if self.ruled is None else self.ruled

    @property
    def period_ms(self) -> int:
        return (self.said_period_ms if self.ruled is None else self.ruled_period_ms) or 1


_NAMES = tuple(column.name for column in limits.c)
_this = (limits.c.kind == bindparam("sort"), limits.c.key == bindparam("which"))


def _of_kind(kind: Kind, *, skip_locked: bool) -> ByList:
    statement = select(*limits.c).where(limits.c.kind == literal_column(f"'{kind}'")).order_by(limits.c.key)
    return ByList(statement.with_for_update(skip_locked=skip_locked), limits.c.key, str)


_lock: dict[tuple[Kind, bool], ByList] = {
    (kind, waits): _of_kind(kind, skip_locked=not waits) for kind in KINDS for waits in (True, False)
}
_find = Statement(select(*limits.c).where(*_this), "sort", "which")
_insert = Statement(insert(limits), *_NAMES)
_keep = Statement(
    update(limits)
    .where(*_this)
    .values(running=bindparam("now_run"), starts=bindparam("began"), wake_at=bindparam("wake")),
    "sort", "which", "now_run", "began", "wake",
)  # fmt: skip
_say = Statement(
    update(limits)
    .where(*_this)
    .values(said=bindparam("most"), said_period_ms=bindparam("period"), used_at=bindparam("at")),
    "sort", "which", "most", "period", "at",
)  # fmt: skip
_rule = Statement(
    update(limits).where(*_this).values(ruled=bindparam("most"), ruled_period_ms=bindparam("period")),
    "sort", "which", "most", "period",
)  # fmt: skip
_page = Statement(
    select(*limits.c)
    .where(limits.c.kind == bindparam("sort"), limits.c.key > bindparam("after"))
    .order_by(limits.c.key)
    .limit(bindparam("most")),
    "sort", "after", "most",
)  # fmt: skip
_to_wake = Statement(
    select(limits.c.kind, limits.c.key)
    .where(limits.c.wake_at <= bindparam("now"))
    .order_by(limits.c.wake_at)
    .limit(bindparam("most")),
    "now", "most",
)  # fmt: skip
_forget = Statement(delete(limits).where(*_this), "sort", "which")


def lock_limits(
    connection: Connection, names: Iterable[LimitName], *, waits: bool = True
) -> dict[LimitName, Limit]:
    """Return those of the limits that there are; nobody else changes them until the transaction ends.

    With ``waits`` False, those that somebody else has locked are left out.
    """
    found: dict[LimitName, Limit] = {}
    wanted = set(names)
    for kind in KINDS:
        keys = [name.key for name in wanted if name.kind == kind]
        for row in _lock[kind, waits].rows(connection, keys):
            limit = Limit(*row)
            found[limit.name] = limit
    return found


def find_limit(connection: Connection, name: LimitName) -> Limit | None:
    row = _find.row(connection, *name)
    return Limit(*row) if row else None


def add_limits(connection: Connection, new: Sequence[Limit]) -> None:
    """Store limits. When another server stores the same now, the transaction is run again."""
    _insert.run_many(connection, [tuple(getattr(limit, name) for name in _NAMES) for limit in new])


def keep_limits(connection: Connection, changed: Iterable[Limit]) -> None:
    """Store how limits that this transaction locked are used."""
    _keep.run_many(connection, [(*each.name, each.running, each.starts, each.wake_at) for each in changed])


def say_limits(connection: Connection, changed: Sequence[Limit]) -> None:
    """Store what a submission said of limits that there are."""
    _say.run_many(connection, [(*each.name, each.said, each.said_period_ms, each.used_at) for each in changed])


def rule_limit(connection: Connection, limit: Limit) -> None:
    """Store what an operator said of a limit that there is."""
    _rule.run(connection, *limit.name, limit.ruled, limit.ruled_period_ms)


def list_limits(connection: Connection, kind: Kind, after: str, most: int) -> list[Limit]:
    """Return limits of a kind whose keys come after one, by key."""
    return [Limit(*row) for row in _page.rows(connection, kind, after, most)]


def find_waking(connection: Connection, now: int, most: int) -> list[LimitName]:
    """Return limits whose time to look for jobs that wait has come."""
    return [LimitName(*row) for row in _to_wake.rows(connection, now, most)]


def forget_limit(connection: Connection, name: LimitName) -> None:
    _forget.run(connection, *name)
