"""Holds: what is paused as a whole, and the jobs that wait for that.

What is paused is a lambda, a runtime, a group or a tenant. The jobs of a runtime or a tenant have lanes of their
own, which claims leave out. Those of a lambda or a group are parked, so that no claim has to go past them: they
are Paused, and wait for the hold.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

from sqlalchemy import (
    BigInteger,
    Connection,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal_column,
    null,
    select,
    update,
)

from piecework.protocol.matching import RuntimeName
from piecework.protocol.messages import HoldKind
from piecework.protocol.states import JobState
from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables import holds, jobs
from piecework.server.store.queue.jobs.jobs import COLUMNS
from piecework.server.store.records import Job, Lane, NewJob, read_job

KINDS: tuple[HoldKind, ...] = get_args(HoldKind)

_columns = (
    holds.c.id, holds.c.kind, holds.c.target, holds.c.note, holds.c.held_at, holds.c.held_by, holds.c.released_at
)  # fmt: skip
_insert = Statement(insert(holds), "id", "kind", "target", "note", "held_at", "held_by")
_all = Statement(select(*_columns).order_by(holds.c.held_at, holds.c.id))
_delete = Statement(delete(holds).where(holds.c.id == bindparam("hold")), "hold")
_of_target = Statement(
    select(*_columns)
    .where(holds.c.kind == bindparam("sort"), holds.c.target == bindparam("what"))
    .with_for_update(),
    "sort", "what",
)  # fmt: skip
_release = Statement(
    update(holds)
    .where(holds.c.id == bindparam("hold"), holds.c.released_at.is_(None))
    .values(released_at=bindparam("at")),
    "hold", "at",
)  # fmt: skip
MARK = (
    select(cast(func.coalesce(func.sum(holds.c.id), literal_column("0")), BigInteger))
    .where(holds.c.released_at.is_(None))
    .scalar_subquery()
)
"""A number that changes with each hold that comes or is taken off; 0: nothing is paused."""
_mark = Statement(select(MARK))
_parked = Statement(
    select(*COLUMNS)
    .where(jobs.c.waits == literal_column("'hold'"), jobs.c.id > bindparam("after"))
    .order_by(jobs.c.id)
    .limit(bindparam("most")),
    "after", "most",
)  # fmt: skip
_park = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state == bindparam("was"))
    .values(state=JobState.PAUSED.value, waits=literal_column("'hold'"), due_at=null()),
    "job", "was",
)  # fmt: skip


class Hold(NamedTuple):
    """Something that is paused as a whole."""

    id: int
    kind: HoldKind
    target: str
    """The id of a lambda or a group, the name of a runtime or a tenant."""
    note: str
    """Why, for people."""
    held_at: int
    held_by: str | None
    """The name of a token."""
    released_at: int | None = None
    """It was taken off; jobs that it parked may be left."""

    def describe(self) -> str:
        """Say what is paused, for people."""
        return f"{self.kind} {self.target}"


@dataclass(frozen=True)
class Holds:
    """All that is paused as a whole, at one time."""

    holds: tuple[Hold, ...] = ()
    lambdas: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()
    tenants: frozenset[str] = frozenset()
    runtimes: tuple[RuntimeName, ...] = ()

    @classmethod
    def of(cls, found: Iterable[Hold]) -> "Holds":
        by_kind: dict[str, list[str]] = {"lambda": [], "group": [], "tenant": [], "runtime": []}
        kept = tuple(hold for hold in found if hold.released_at is None)
        for hold in kept:
            by_kind[hold.kind].append(hold.target)
        return cls(
            kept,
            frozenset(map(int, by_kind["lambda"])),
            frozenset(map(int, by_kind["group"])),
            frozenset(by_kind["tenant"]),
            tuple(map(RuntimeName.parse, by_kind["runtime"])),
        )

    @property
    def mark(self) -> int:
        """What MARK gives while they are the ones."""
        return sum(hold.id for hold in self.holds)

    def keep_lane(self, lane: Lane) -> bool:
        """Tell whether all jobs of a lane are kept: their tenant is paused, or their runtime."""
        if lane.tenant in self.tenants:
            return True
        wanted = RuntimeName.parse(lane.runtime) if self.runtimes else None
        return wanted is not None and any(_covers(held, wanted) for held in self.runtimes)

    def keep_job(self, job: Job | NewJob) -> bool:
        """Tell whether a job's lambda or group is paused."""
        return job.lambda_id in self.lambdas or job.group_id in self.groups

    def describe(self, job: Job | NewJob) -> str:
        """Say which of a job's lambda and group is the one that is paused."""
        mine = {("lambda", str(job.lambda_id)), ("group", str(job.group_id))}
        return next((hold.describe() for hold in self.holds if (hold.kind, hold.target) in mine), "something else")

    def find(self, job: Job, lane: Lane) -> Hold | None:
        """Return one that keeps a job."""
        wanted = RuntimeName.parse(lane.runtime)
        targets = {"lambda": str(job.lambda_id), "group": str(job.group_id), "tenant": lane.tenant}
        for hold in self.holds:
            if hold.kind == "runtime":
                keeps = _covers(RuntimeName.parse(hold.target), wanted)
            else:
                keeps = targets[hold.kind] == hold.target
            if keeps:
                return hold
        return None


NO_HOLDS = Holds()


def _covers(held: RuntimeName, wanted: RuntimeName) -> bool:
    """Tell whether a paused runtime is the one that a job wants, or that without some features."""
    return held.base == wanted.base and held.features <= wanted.features


def list_holds(connection: Connection) -> list[Hold]:
    """Return what is paused and what was, while jobs are left to release; oldest first."""
    return [Hold(*row) for row in _all.rows(connection)]


def find_holds(connection: Connection) -> Holds:
    """Return what is paused."""
    return Holds.of(list_holds(connection))


def read_mark(connection: Connection) -> int:
    """Return what tells whether something was paused, or no more, since: see MARK."""
    return int(_mark.value(connection))


def find_hold(connection: Connection, kind: HoldKind, target: str) -> Hold | None:
    """Return a hold, for changing it."""
    row = _of_target.row(connection, kind, target)
    return Hold(*row) if row else None


def add_hold(connection: Connection, new: Hold) -> None:
    """Pause something. Another hold on it must not be there any more."""
    _insert.run(connection, *new[:6])


def release_hold(connection: Connection, id_: int, now: int) -> bool:
    """Take a hold off; its row stays until its jobs are released. Returns False when it was off already."""
    return _release.run(connection, id_, now) == 1


def remove_hold(connection: Connection, id_: int) -> None:
    _delete.run(connection, id_)


def park_jobs(connection: Connection, found: Sequence[Job]) -> None:
    """Keep enqueued jobs that this transaction has locked out of the queue."""
    _park.run_many(connection, [(job.id, job.state_name) for job in found])


def find_parked(connection: Connection, after: int, most: int) -> list[Job]:
    """Return jobs that wait for a hold, by their ids."""
    return list(map(read_job, _parked.rows(connection, after, most)))
