"""Why a job waits whose keys have limits."""

from datetime import UTC, datetime

from piecework.server.services.queue.limits.limiter import names_of
from piecework.server.services.queue.limits.windows import Window
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.leasing import keyed, limits
from piecework.server.store.queue.leasing.limits import Limit
from piecework.server.store.records import Job

COUNTED_MAX = 10_000
"""Jobs that wait before another are counted up to here."""


def describe_limits(connection: Connection, job: Job, now: int) -> str | None:
    """Say which limit a job waits for, and how many wait before it; None when its keys have room."""
    for name in names_of(job):
        limit = limits.find_limit(connection, name)
        is_it = job.waits == keyed.WAITS[name.kind]
        if limit is None or limit.most is None or (job.waits is not None and not is_it):
            continue
        told, is_full = _describe_use(limit, limit.most, now)
        if is_it or is_full:
            before = keyed.count_parked_before(connection, *name, job, COUNTED_MAX)
            waiting = f"; {_count(before)} before it" if is_it and before else ""
            reached = "reached" if is_full else "has room for the next"
            return f"limit of key {name.key} {reached}: {told}{waiting}"
    return None


def _describe_use(limit: Limit, most: int, now: int) -> tuple[str, bool]:
    """Tell how much of a limit is used, and whether that is all."""
    if limit.kind == "concurrency":
        if most == 0:
            return "an operator lets none run", True
        return f"{limit.running} of {most} run", limit.running >= most
    window = Window(limit.starts, limit.period_ms, now)
    period = f"{limit.period_ms / 1000:g} s"
    if most == 0:
        return "an operator lets none start", True
    told = f"{window.count} of {most} started within {period}"
    if window.count >= most and window.changes_at is not None:
        at = datetime.fromtimestamp(window.changes_at / 1000, UTC).isoformat(timespec="milliseconds")
        told += f", the next may start at {at}"
    return told, window.count >= most


def _count(before: int) -> str:
    if before >= COUNTED_MAX:
        return f"{before:,} or more wait"
    return "1 waits" if before == 1 else f"{before:,} wait"
