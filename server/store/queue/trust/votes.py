"""Vote rows: what owners of workers said that jobs give; and how far owners are believed."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, exists, literal_column, null, select, update
from sqlalchemy.dialects import postgresql

from piecework.server.store.engine.statements import ByList, Statement
from piecework.server.store.engine.tables import jobs
from piecework.server.store.engine.tables.votes import owners, votes

_columns = (
    votes.c.job_id, votes.c.owner, votes.c.worker_id, votes.c.digest, votes.c.diverse, votes.c.alone, votes.c.at,
)  # fmt: skip
_of_jobs = ByList(select(*_columns).order_by(votes.c.job_id, votes.c.at, votes.c.owner), votes.c.job_id)
# SQLite spells it in the same way.
_insert = postgresql.insert(votes)
_put = Statement(
    _insert.on_conflict_do_update(
        index_elements=["job_id", "owner"],
        set_={column.name: _insert.excluded[column.name] for column in _columns[2:]},
    ),
    *(column.name for column in _columns),
)
_confirm = Statement(
    update(votes).where(votes.c.job_id == bindparam("job")).values(alone=literal_column("FALSE")), "job"
)
_reject = Statement(
    delete(votes).where(votes.c.job_id == bindparam("job"), votes.c.digest != bindparam("right")), "job", "right"
)
_forget = Statement(delete(votes).where(votes.c.job_id == bindparam("job")), "job")
_remove = Statement(
    delete(votes).where(votes.c.job_id == bindparam("job"), votes.c.owner == bindparam("whose")), "job", "whose"
)
_others, _records = votes.alias("others"), owners.alias("records")
_is_backed = exists().where(
    _others.c.job_id == votes.c.job_id,
    _others.c.digest == votes.c.digest,
    ~exists().where(_records.c.name == _others.c.owner, _records.c.wrong > literal_column("0")),
)
_page_of = Statement(
    select(votes.c.job_id, votes.c.alone, _is_backed)
    .where(votes.c.owner == bindparam("whose"), votes.c.job_id > bindparam("after"))
    .order_by(votes.c.job_id)
    .limit(bindparam("most")),
    "whose", "after", "most",
)  # fmt: skip
_owner_columns = (owners.c.name, owners.c.streak, owners.c.agreed, owners.c.wrong, owners.c.caught_at)
_owner = ByList(select(*_owner_columns), owners.c.name, str)
_caught = Statement(
    select(*_owner_columns).where(owners.c.caught_at.is_not(None)).limit(bindparam("most")), "most"
)
_all = Statement(select(*_owner_columns).order_by(owners.c.name).limit(bindparam("most")), "most")
_meet = Statement(postgresql.insert(owners).on_conflict_do_nothing(), "name", "streak", "agreed", "wrong")
_agree = Statement(
    update(owners)
    .where(owners.c.name == bindparam("whose"))
    .values(streak=owners.c.streak + literal_column("1"), agreed=owners.c.agreed + literal_column("1")),
    "whose",
)
_catch = Statement(
    update(owners)
    .where(owners.c.name == bindparam("whose"))
    .values(streak=0, wrong=owners.c.wrong + literal_column("1"), caught_at=bindparam("at")),
    "whose", "at",
)  # fmt: skip
_look_done = Statement(
    update(owners)
    .where(owners.c.name == bindparam("whose"), owners.c.caught_at == bindparam("at"))
    .values(caught_at=null()),
    "whose", "at",
)  # fmt: skip
_move = Statement(update(jobs).where(jobs.c.id == bindparam("job")).values(lane_id=bindparam("to")), "job", "to")


class Vote(NamedTuple):
    """What a worker of an owner said that a job gives."""

    job_id: int
    owner: str
    worker_id: int
    digest: str
    diverse: bool
    """An engine ran it that is not the usual one."""
    alone: bool
    """It was accepted because its owner is believed."""
    at: int


class OwnerRecord(NamedTuple):
    """How the workers of an owner did."""

    name: str
    streak: int = 0
    """Results in a row with which another owner agreed."""
    agreed: int = 0
    wrong: int = 0
    caught_at: int | None = None
    """When one of its results was wrong whose other results have not all been looked at yet."""


def find_votes(connection: Connection, job_ids: Iterable[int]) -> list[Vote]:
    """Return the votes on some jobs, of each the oldest first."""
    return [_read(row) for row in _of_jobs.rows(connection, job_ids)]


def _read(row: Sequence[object]) -> Vote:
    vote = Vote._make(row)
    return vote._replace(diverse=bool(vote.diverse), alone=bool(vote.alone))


def put_vote(connection: Connection, vote: Vote) -> None:
    """Store a vote; an owner has one on each job, its latest."""
    _put.run(connection, *vote)


def confirm_votes(connection: Connection, job_id: int, digest: str) -> None:
    """Note that others agreed with the votes for this result of a job, and remove those for other ones."""
    _confirm.run(connection, job_id)
    _reject.run(connection, job_id, digest)


def forget_votes(connection: Connection, job_ids: Iterable[int]) -> None:
    """Remove the votes on jobs, which are run again."""
    _forget.run_many(connection, [(id_,) for id_ in job_ids])


def remove_votes(connection: Connection, which: Sequence[tuple[int, str]]) -> None:
    """Remove votes: (job, owner)."""
    _remove.run_many(connection, which)


def find_doubtful(connection: Connection, owner: str, after: int, most: int) -> tuple[list[int], int | None]:
    """Look at one page of an owner's votes, on jobs with ids above ``after``.

    Returns those jobs whose results were accepted because the owner was believed, or with which none agreed but
    owners who gave a wrong one somewhere; and where the next page begins, None after the last.
    """
    rows = _page_of.rows(connection, owner, after, most)
    doubtful = [id_ for id_, is_alone, is_backed in rows if is_alone or not is_backed]
    return doubtful, rows[-1][0] if len(rows) == most else None


def find_owners(connection: Connection, names: Iterable[str]) -> dict[str, OwnerRecord]:
    """Return what is known of owners, by name; of those nobody ever agreed or disagreed with, nothing."""
    return {row[0]: OwnerRecord._make(row) for row in _owner.rows(connection, names)}


def list_owners(connection: Connection, most: int) -> list[OwnerRecord]:
    """Return what is known of owners, by name."""
    return [OwnerRecord._make(row) for row in _all.rows(connection, most)]


def find_caught(connection: Connection, most: int) -> list[OwnerRecord]:
    """Return owners that were caught, and of whose other results not all have been looked at."""
    return [OwnerRecord._make(row) for row in _caught.rows(connection, most)]


def note_agreed(connection: Connection, names: Iterable[str]) -> None:
    """Count a result that another owner agreed with."""
    for name in sorted(names):
        _meet.run(connection, name, 0, 0, 0)
        _agree.run(connection, name)


def note_wrong(connection: Connection, names: Iterable[str], now: int) -> None:
    """Count a wrong result: none of these owners is believed any more."""
    for name in sorted(names):
        _meet.run(connection, name, 0, 0, 0)
        _catch.run(connection, name, now)


def note_looked(connection: Connection, owner: OwnerRecord) -> None:
    """Note that all other results of an owner that was caught have been looked at, unless it was again."""
    _look_done.run(connection, owner.name, owner.caught_at)


def move_to_lane(connection: Connection, moves: Sequence[tuple[int, int]]) -> None:
    """Put jobs that this transaction has locked into other lanes: (job, lane)."""
    _move.run_many(connection, moves)
