"""Failed jobs, counted by what they failed of."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, func, select

from piecework.server.store.engine.statements import is_listed
from piecework.server.store.engine.tables import jobs
from piecework.server.store.queue.jobs.filters import JobFilter
from piecework.server.store.queue.jobs.searches import is_among

TOLD_APART = 300
"""Characters of a stored error that tell one reason from another."""
REASONS_MAX = 10_000
"""Reasons that are looked at, the most frequent of them."""
_ERROR = re.compile(r'\{"kind":"(\w*)","message":"((?:[^"\\]|\\u[0-9a-f]{4}|\\[^u])*)')
"""How an error begins as it is stored, wherever that is cut off."""


class Failures(NamedTuple):
    """Failed jobs of one lambda that failed alike."""

    lambda_id: int
    kind: str
    """Empty: the worker gave no reason."""
    message: str
    """The first line of it, or as much as tells it from others."""
    jobs: int
    first_at: int
    last_at: int
    newest: int
    """The one with the largest id."""

    def add(self, other: "Failures") -> "Failures":
        """Return these and others of the same reason as one."""
        return self._replace(
            jobs=self.jobs + other.jobs,
            first_at=min(self.first_at, other.first_at),
            last_at=max(self.last_at, other.last_at),
            newest=max(self.newest, other.newest),
        )


_reason = (jobs.c.lambda_id, func.substr(jobs.c.error, 1, TOLD_APART))
_counts = (func.count(), func.min(jobs.c.finished_at), func.max(jobs.c.finished_at), func.max(jobs.c.id))


def count_failures(
    connection: Connection, which: JobFilter, most: int, among: Sequence[int] | None = None
) -> list[Failures]:
    """Return the reasons of jobs that fit, ``most`` at most, the most frequent first.

    ``among``: of these jobs alone.
    """
    reasons = select(*_reason, *_counts)
    if among is not None:
        reasons = reasons.where(is_listed(connection, jobs.c.id, among), is_among(which.states))
        which = replace(which, states=())
    statement = which.narrow(reasons).group_by(*_reason).order_by(func.count().desc())
    rows = connection.execute(statement.limit(REASONS_MAX))
    found = _merge(Failures(id_, *_read_reason(error or ""), *counts) for id_, error, *counts in rows)
    return sorted(found, key=lambda each: (-each.jobs, -each.newest))[:most]


def count_all(connection: Connection, which: JobFilter) -> int:
    """Return how many jobs fit."""
    return int(connection.execute(which.narrow(select(func.count()).select_from(jobs))).scalar_one())


def _merge(found: Iterable[Failures]) -> Iterable[Failures]:
    """Put those together that differ only in what nobody is told."""
    merged: dict[tuple[int, str, str], Failures] = {}
    for each in found:
        before = merged.get(each[:3])
        merged[each[:3]] = each if before is None else before.add(each)
    return merged.values()


def _read_reason(error: str) -> tuple[str, str]:
    """Return the kind of a stored error, and the first line of what it says."""
    begin = _ERROR.match(error)
    if begin is None:
        return "", ""
    kind, message = begin.groups()
    return kind, msgspec.json.decode(f'"{message}"', type=str).partition("\n")[0]
