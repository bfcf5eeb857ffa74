"""Rows of hosts and of the replicas that they run."""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, literal_column, null, select, update

from piecework.protocol.matching import TagSet, worker_tags
from piecework.protocol.messages import ReplicaReport, ReplicaState
from piecework.server.store.engine.statements import Statement, to_json, without_nul
from piecework.server.store.engine.tables import lambdas, workers
from piecework.server.store.engine.tables.functions import hosts, replicas, revisions
from piecework.server.store.functions.ended_logs import keep_log
from piecework.server.store.functions.kept_logs import KeptLog
from piecework.server.store.options import LambdaOptions
from piecework.server.store.records import Log, extend_log

LOG_BYTES = 64 * 1024
"""How much of a replica's log is kept."""
ERROR_CHARS = 2000


Name = tuple[str, str]
"""A function and one of its revisions."""


class HostRow(NamedTuple):
    """A worker that said that it can run replicas."""

    worker_id: int
    name: str
    slots: int
    seen_at: int
    """When it reported last."""
    runtimes: tuple[str, ...]
    tags: frozenset[str]
    drains: bool
    retired: bool


class ReplicaRow(NamedTuple):
    """One process that serves a revision, or will."""

    id: int
    function: str
    revision: str
    worker_id: int
    state: ReplicaState
    url: str | None
    pid: int | None
    token: str
    error: str
    calls: int
    errors: int
    p50_ms: float | None
    p99_ms: float | None
    since: int
    unrecorded: str | None = None
    """JSON of calls that were not recorded, by the reason."""

    @property
    def name(self) -> Name:
        return self.function, self.revision

    @property
    def runs(self) -> bool:
        return self.state is ReplicaState.RUNNING


class OrderRow(NamedTuple):
    """A replica that a host is to run."""

    id: int
    function: str
    revision: str
    token: str
    lambda_id: int


class WantedRevision(NamedTuple):
    """A revision that is to have replicas."""

    function: str
    revision: str
    replicas: int
    """How many."""
    lambda_id: int
    runtime: str
    tags: TagSet

    @property
    def name(self) -> Name:
        return self.function, self.revision


_host = (
    hosts.c.worker_id, workers.c.name, hosts.c.slots, hosts.c.seen_at, workers.c.runtimes, workers.c.tags,
    workers.c.draining, workers.c.retired_at,
)  # fmt: skip
_replica = (
    replicas.c.id, replicas.c.function, replicas.c.revision, replicas.c.worker_id, replicas.c.state,
    replicas.c.url, replicas.c.pid, replicas.c.token, replicas.c.error, replicas.c.calls, replicas.c.errors,
    replicas.c.p50_ms, replicas.c.p99_ms, replicas.c.since, replicas.c.unrecorded,
)  # fmt: skip
_this_host = hosts.c.worker_id == bindparam("worker")
_this_replica = replicas.c.id == bindparam("replica")
_this_revision = (replicas.c.function == bindparam("which"), replicas.c.revision == bindparam("version"))

_touch_host = Statement(
    update(hosts).where(_this_host).values(slots=bindparam("room"), seen_at=bindparam("at")),
    "worker",
    "room",
    "at",
)
_insert_host = Statement(insert(hosts), "worker_id", "slots", "seen_at")
_hosts = Statement(select(*_host).join(workers, workers.c.id == hosts.c.worker_id).order_by(hosts.c.worker_id))
_delete_host = Statement(
    delete(hosts).where(_this_host, hosts.c.seen_at < bindparam("before")), "worker", "before"
)
_all = Statement(select(*_replica).order_by(replicas.c.id))
_of_host = Statement(
    select(*_replica).where(replicas.c.worker_id == bindparam("worker")).order_by(replicas.c.id), "worker"
)
_orders = Statement(
    select(replicas.c.id, replicas.c.function, replicas.c.revision, replicas.c.token, revisions.c.lambda_id)
    .join(revisions, (revisions.c.function == replicas.c.function) & (revisions.c.name == replicas.c.revision))
    .where(replicas.c.worker_id == bindparam("worker"))
    .order_by(replicas.c.id),
    "worker",
)  # fmt: skip
_insert = Statement(
    insert(replicas),
    "id", "function", "revision", "worker_id", "state", "token", "error", "calls", "errors", "since", "log",
    "log_start",
)  # fmt: skip
_update = Statement(
    update(replicas)
    .where(_this_replica)
    .values(
        state=bindparam("to"),
        url=bindparam("address"),
        pid=bindparam("process"),
        error=bindparam("why"),
        calls=bindparam("called"),
        errors=bindparam("failed"),
        p50_ms=bindparam("half"),
        p99_ms=bindparam("most"),
        since=bindparam("at"),
        unrecorded=bindparam("left"),
    ),
    "replica", "to", "address", "process", "why", "called", "failed", "half", "most", "at", "left",
)  # fmt: skip
_reset = Statement(
    update(replicas)
    .where(_this_replica)
    .values(
        state=literal_column(f"'{ReplicaState.STARTING}'"),
        url=null(),
        pid=null(),
        since=bindparam("at"),
        log=bindparam("content"),
        log_start=literal_column("0"),
    ),
    "replica", "at", "content",
)  # fmt: skip
_delete = Statement(delete(replicas).where(_this_replica), "replica")
_log = Statement(select(replicas.c.log_start, replicas.c.log).where(_this_replica), "replica")
_set_log = Statement(
    update(replicas).where(_this_replica).values(log_start=bindparam("start"), log=bindparam("content")),
    "replica", "start", "content",
)  # fmt: skip
_logs = Statement(
    select(replicas.c.id, workers.c.name, replicas.c.log_start, replicas.c.log)
    .join(workers, workers.c.id == replicas.c.worker_id)
    .where(*_this_revision)
    .order_by(replicas.c.id),
    "which", "version",
)  # fmt: skip
_wanted = Statement(
    select(
        revisions.c.function,
        revisions.c.name,
        revisions.c.replicas,
        lambdas.c.id,
        lambdas.c.runtime,
        lambdas.c.options,
    )
    .join(lambdas, lambdas.c.id == revisions.c.lambda_id)
    .where(revisions.c.replicas > literal_column("0"))
    .order_by(revisions.c.function, revisions.c.name)
)


def hear_host(connection: Connection, worker_id: int, slots: int, now: int) -> None:
    """Note that a host reported, and how many replicas it may run."""
    if _touch_host.run(connection, worker_id, slots, now) == 0:
        _insert_host.run(connection, worker_id, slots, now)


def list_hosts(connection: Connection) -> list[HostRow]:
    """Return all hosts, oldest worker first."""
    return [_to_host(*row) for row in _hosts.rows(connection)]


def delete_host(connection: Connection, worker_id: int, before: int) -> None:
    """Forget a host, unless it was heard of at ``before`` or later."""
    _delete_host.run(connection, worker_id, before)


def list_replicas(connection: Connection) -> list[ReplicaRow]:
    """Return all replicas, oldest first."""
    return [_to_replica(*row) for row in _all.rows(connection)]


def replicas_of_host(connection: Connection, worker_id: int) -> list[ReplicaRow]:
    """Return the replicas of a host, oldest first."""
    return [_to_replica(*row) for row in _of_host.rows(connection, worker_id)]


def list_orders(connection: Connection, worker_id: int) -> list[OrderRow]:
    """Return what a host is to run, oldest first."""
    return [OrderRow(*row) for row in _orders.rows(connection, worker_id)]


def add_replica(connection: Connection, new: OrderRow, worker_id: int, now: int) -> None:
    """Store a replica that a host is to start."""
    state = ReplicaState.STARTING.value
    _insert.run(connection, *new[:3], worker_id, state, new.token, "", 0, 0, now, b"", 0)


def delete_replicas(connection: Connection, ids: Iterable[int], now: int) -> None:
    """Forget replicas, but the end of their logs; their hosts stop them when they report."""
    for id_ in sorted(ids):
        keep_log(connection, id_, now)
        _delete.run(connection, id_)


def note_report(connection: Connection, known: ReplicaRow, report: ReplicaReport, now: int) -> None:
    """Keep what a host said of a replica."""
    since = known.since if report.state is known.state else now
    _update.run(
        connection, known.id, report.state.value, report.url, report.pid, without_nul(report.error[:ERROR_CHARS]),
        report.calls, report.errors, report.p50_ms, report.p99_ms, since, to_json(report.unrecorded or None),
    )  # fmt: skip
    if report.log:
        row = _log.row(connection, known.id)
        if row is not None:
            part = Log(report.log_start, report.log, 0)
            start, content = row
            kept = extend_log(Log(start, content, 0), part, LOG_BYTES)
            _set_log.run(connection, known.id, kept.start, kept.content)


def forget_report(connection: Connection, known: ReplicaRow, now: int) -> None:
    """Take a replica for one that its host has yet to start: the host did not name it."""
    keep_log(connection, known.id, now)
    since = known.since if known.state is ReplicaState.STARTING else now
    _reset.run(connection, known.id, since, b"")


def read_logs(connection: Connection, function: str, revision: str) -> list[KeptLog]:
    """Return the kept logs of a revision's replicas."""
    return [
        KeptLog(id_, name, Log(start, log, 0))
        for id_, name, start, log in _logs.rows(connection, function, revision)
    ]


def list_wanted(connection: Connection) -> list[WantedRevision]:
    """Return the revisions that are to have replicas, by name."""
    return [_to_wanted(*row) for row in _wanted.rows(connection)]


def _to_replica(*row: object) -> ReplicaRow:
    known = ReplicaRow._make(row)
    return known._replace(state=ReplicaState(known.state))


def _to_host(
    worker_id: int,
    name: str,
    slots: int,
    seen_at: int,
    runtimes: str,
    tags: str,
    draining: object,
    retired: object,
) -> HostRow:
    offered, tagged = tuple(msgspec.json.decode(runtimes)), worker_tags(msgspec.json.decode(tags))
    return HostRow(worker_id, name, slots, seen_at, offered, tagged, bool(draining), retired is not None)


def _to_wanted(
    function: str, revision: str, count: int, lambda_id: int, runtime: str, options: str
) -> WantedRevision:
    return WantedRevision(function, revision, count, lambda_id, runtime, _tags_of(options))


@lru_cache(maxsize=1000)
def _tags_of(options: str) -> TagSet:
    return TagSet.parse(msgspec.json.decode(options, type=LambdaOptions).tags)
