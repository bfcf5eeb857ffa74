"""Memo rows: results of deterministic jobs, by the digest of all that decides them. Digests are SHA-256 in hex."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql

from piecework.server.store.engine.statements import ByList, Statement
from piecework.server.store.engine.tables import jobs
from piecework.server.store.engine.tables.memos import memo_stops, memos

_columns = (
    memos.c.key, memos.c.code_sha256, memos.c.job_id, memos.c.state, memos.c.output_id, memos.c.error,
    memos.c.usage,
)  # fmt: skip
_by_keys = ByList(select(*_columns), memos.c.key, str)
# SQLite spells it in the same way.
_add = Statement(
    postgresql.insert(memos).on_conflict_do_nothing(), "key", "code_sha256", "job_id", "hits", "used_at"
)
_mine = (memos.c.key == bindparam("memo"), memos.c.job_id == bindparam("job"))
_keep = Statement(
    update(memos)
    .where(*_mine)
    .values(
        state=bindparam("to"), output_id=bindparam("output"), error=bindparam("why"), usage=bindparam("used"),
        used_at=bindparam("at"),
    ),
    "memo", "job", "to", "output", "why", "used", "at",
)  # fmt: skip
_take_over = Statement(
    update(memos).where(*_mine, memos.c.state.is_(None)).values(job_id=bindparam("next")), "memo", "job", "next"
)
_drop_open = Statement(delete(memos).where(*_mine, memos.c.state.is_(None)), "memo", "job")
_drop_made = Statement(delete(memos).where(*_mine, memos.c.state.is_not(None)), "memo", "job")
_hit = Statement(
    update(memos)
    .where(memos.c.key == bindparam("memo"))
    .values(hits=memos.c.hits + bindparam("more"), used_at=bindparam("at")),
    "memo", "more", "at",
)  # fmt: skip
_of_code = Statement(
    select(memos.c.key, memos.c.output_id)
    .where(memos.c.code_sha256 == bindparam("code"))
    .limit(bindparam("most")),
    "code", "most",
)  # fmt: skip
_unused = Statement(
    select(memos.c.key, memos.c.output_id)
    .where(memos.c.used_at < bindparam("before"))
    .order_by(memos.c.used_at)
    .limit(bindparam("most")),
    "before", "most",
)  # fmt: skip
_delete = Statement(delete(memos).where(memos.c.key == bindparam("memo")), "memo")
_count = Statement(
    select(func.count(), func.coalesce(func.sum(memos.c.hits), 0)).where(
        memos.c.code_sha256 == bindparam("code"), memos.c.state.is_not(None)
    ),
    "code",
)
_stopped = ByList(select(memo_stops.c.code_sha256), memo_stops.c.code_sha256, str)
_stops = Statement(
    select(memo_stops.c.code_sha256, memo_stops.c.at, memo_stops.c.detail)
    .order_by(memo_stops.c.at.desc())
    .limit(bindparam("most")),
    "most",
)
_stop_of = Statement(
    select(memo_stops.c.code_sha256, memo_stops.c.at, memo_stops.c.detail).where(
        memo_stops.c.code_sha256 == bindparam("code")
    ),
    "code",
)
_add_stop = Statement(postgresql.insert(memo_stops).on_conflict_do_nothing(), "code_sha256", "at", "detail")
_remove_stop = Statement(delete(memo_stops).where(memo_stops.c.code_sha256 == bindparam("code")), "code")
_end = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state == bindparam("was"))
    .values(
        state=bindparam("to"),
        output_id=bindparam("output"),
        error=bindparam("why"),
        usage=bindparam("used"),
        options=bindparam("asked"),
        finished_at=bindparam("at"),
        pending=bindparam("left"),
        due_at=None,
        waits=None,
    ),
    "job", "was", "to", "output", "why", "used", "asked", "at", "left",
)  # fmt: skip


class Memo(NamedTuple):
    """The result of a job, or the job that will give it."""

    key: str
    code_sha256: str
    job_id: int
    state_name: str | None = None
    """The final state; None: the job has not ended."""
    output_id: int | None = None
    error_json: str | None = None
    usage_json: str | None = None


class RecalledEnd(NamedTuple):
    """How a job ends that is answered with a memo. It was in ``was``."""

    job_id: int
    was: str
    to: str
    output_id: int | None
    error_json: str | None
    usage_json: str | None
    options_json: str | None
    finished_at: int
    pending: int | None


class MemoStop(NamedTuple):
    """Code whose results are not kept any more."""

    code_sha256: str
    at: int
    detail: str


def find_memos(connection: Connection, keys: Iterable[str]) -> dict[str, Memo]:
    """Return those of the memos that are there, by key."""
    return {row[0]: Memo._make(row) for row in _by_keys.rows(connection, keys)}


def add_memos(connection: Connection, new: Iterable[Memo], now: int) -> None:
    """Note which jobs will give results. Where there is a memo already, nothing happens."""
    rows = [(each.key, each.code_sha256, each.job_id, 0, now) for each in new]
    for row in sorted(rows):
        _add.run(connection, *row)


def keep_results(connection: Connection, made: Iterable[Memo], now: int) -> None:
    """Store the results of jobs that ended, of each if it is the one that was to give it."""
    _keep.run_many(connection, [(each.key, each.job_id, *each[3:], now) for each in made])


def take_over(connection: Connection, moves: Sequence[tuple[str, int, int]]) -> None:
    """Have other jobs give results: (key, the job that did not, the next one)."""
    _take_over.run_many(connection, moves)


def drop_open(connection: Connection, which: Sequence[tuple[str, int]]) -> None:
    """Forget that jobs were to give results: (key, job)."""
    _drop_open.run_many(connection, which)


def drop_made(connection: Connection, which: Sequence[tuple[str, int]]) -> None:
    """Forget the results that jobs gave: (key, job)."""
    _drop_made.run_many(connection, which)


def note_hits(connection: Connection, hits: Mapping[str, int], now: int) -> None:
    """Count jobs that were answered, by key."""
    _hit.run_many(connection, [(key, hits[key], now) for key in sorted(hits)])


def list_of_code(connection: Connection, code_sha256: str, most: int) -> list[tuple[str, int | None]]:
    """Return (key, output) of some memos of code."""
    return [(key, output) for key, output in _of_code.rows(connection, code_sha256, most)]


def list_unused(connection: Connection, before: int, most: int) -> list[tuple[str, int | None]]:
    """Return (key, output) of some memos that no job was answered with since then."""
    return [(key, output) for key, output in _unused.rows(connection, before, most)]


def delete_memos(connection: Connection, keys: Iterable[str]) -> int:
    """Remove memos. Returns how many there were."""
    return _delete.run_many(connection, [(key,) for key in keys])


def count_memos(connection: Connection, code_sha256: str) -> tuple[int, int]:
    """Return how many results of code are kept, and how many jobs were answered with them."""
    row = _count.row(connection, code_sha256)
    assert row is not None
    return int(row[0]), int(row[1])


def find_stopped(connection: Connection, codes: Iterable[str]) -> set[str]:
    """Return those of the codes whose results are not kept."""
    return {code for (code,) in _stopped.rows(connection, codes)}


def find_stop(connection: Connection, code_sha256: str) -> MemoStop | None:
    """Return why results of code are not kept; None when they are."""
    row = _stop_of.row(connection, code_sha256)
    return None if row is None else MemoStop._make(row)


def list_stops(connection: Connection, most: int) -> list[MemoStop]:
    """Return code whose results are not kept, the latest first."""
    return [MemoStop._make(row) for row in _stops.rows(connection, most)]


def add_stop(connection: Connection, stop: MemoStop) -> None:
    """Keep no results of code any more. Safe to repeat."""
    _add_stop.run(connection, *stop)


def remove_stop(connection: Connection, code_sha256: str) -> bool:
    """Keep results of code again. Returns False when they were kept."""
    return _remove_stop.run(connection, code_sha256) == 1


def end_recalled(connection: Connection, ends: Sequence[RecalledEnd]) -> None:
    """End jobs that this transaction has locked, with the results of others."""
    _end.run_many(connection, ends)
