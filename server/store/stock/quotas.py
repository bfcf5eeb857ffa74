"""Quotas: what tokens may submit, and how much of that they have used."""

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql

from piecework.server.store.engine.statements import Statement, is_listed
from piecework.server.store.engine.tables import job_files, jobs, quotas, tokens

_lock = Statement(select(quotas.c.full_at_us).where(quotas.c.name == bindparam("who")).with_for_update(), "who")
_add = Statement(postgresql.insert(quotas).on_conflict_do_nothing(), "name", "full_at_us")
_set = Statement(
    update(quotas).where(quotas.c.name == bindparam("who")).values(full_at_us=bindparam("full")), "full", "who"
)
_counted = (
    select(jobs.c.id)
    .where(jobs.c.submitter == bindparam("who"), jobs.c.counted.is_not(None), jobs.c.finished_at.is_(None))
    .limit(bindparam("most"))
    .subquery()
)
_count = Statement(select(func.count()).select_from(_counted), "who", "most")
_mark = Statement(update(jobs).where(jobs.c.id == bindparam("which")).values(counted=True), "which")
_of_others = select(jobs.c.id).where(func.coalesce(jobs.c.submitter, "") != bindparam("who")).limit(1)
_own_data = Statement(
    select(jobs.c.id)
    .where(
        jobs.c.submitter == bindparam("who"),
        or_(
            jobs.c.output_id == bindparam("blob"),
            jobs.c.id.in_(
                select(job_files.c.job_id).where(
                    job_files.c.blob_id == bindparam("blob"), job_files.c.kind == bindparam("how")
                )
            ),
        ),
    )
    .limit(1),
    "who", "blob", "how",
)  # fmt: skip
_forget = delete(quotas).where(quotas.c.name.not_in(select(tokens.c.name)))


class Quota(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a token may submit. Rights of its scope go no further."""

    lambdas: tuple[str, ...] = ()
    """Ids and names of lambdas, and names of functions, that it may use; none: all."""
    queued_max: int | None = None
    """Jobs of it that may be unfinished at once; None: any number."""
    rate: int | None = None
    """Jobs that it may submit in a period; None: any number."""
    period_ms: int = 1000

    @property
    def is_counted(self) -> bool:
        """Whether each of its jobs has to be counted."""
        return self.queued_max is not None or self.rate is not None

    def allows(self, *names: str) -> bool:
        """Tell whether it may use what is called by one of some names."""
        return not self.lambdas or not set(self.lambdas).isdisjoint(names)


def lock_use(connection: Connection, name: str) -> int:
    """Have other submissions of a token wait until this transaction is over.

    Returns when its whole rate is there again, in microseconds since 1970.
    """
    full_at_us = _lock.value(connection, name)
    if full_at_us is None:
        _add.run(connection, name, 0)
        full_at_us = _lock.value(connection, name)
    assert isinstance(full_at_us, int)
    return full_at_us


def set_full_at(connection: Connection, name: str, full_at_us: int) -> None:
    """Note when the whole rate is there again, of a token whose use is locked."""
    _set.run(connection, full_at_us, name)


def count_unfinished(connection: Connection, name: str, most: int) -> int:
    """Count the unfinished jobs of a token that were counted when they came, up to ``most``."""
    found: int = _count.value(connection, name, most)
    return found


def mark_counted(connection: Connection, ids: Iterable[int]) -> None:
    """Have jobs count as long as they are unfinished."""
    _mark.run_many(connection, [(id_,) for id_ in ids])


def find_foreign(connection: Connection, name: str, ids: Iterable[int]) -> int | None:
    """Return one of some jobs that a token did not submit; None when there is none of them."""
    wanted = _of_others.where(is_listed(connection, jobs.c.id, sorted(set(map(int, ids)))))
    found: int | None = connection.execute(wanted, {"who": name}).scalar()
    return found


def has_made(connection: Connection, name: str, blob_id: int) -> bool:
    """Tell whether a blob is the output, or a file, that a job made which a token submitted."""
    return _own_data.row(connection, name, blob_id, "made") is not None


def forget_unused(connection: Connection) -> None:
    """Forget the use of tokens that there are no more."""
    connection.execute(_forget)
