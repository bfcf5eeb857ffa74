"""Rows of functions, their revisions, and the URLs that serve them."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from piecework.server.store.engine.statements import Row, Statement, to_json
from piecework.server.store.engine.tables.functions import (
    ended_logs,
    functions,
    hosts,
    recorded_calls,
    replicas,
    revisions,
    urls,
)

FILE, REQUEST = "file", "request"
"""Who added a URL: the configuration file, or somebody who called."""


class Function(NamedTuple):
    """A name that people call."""

    name: str
    default_revision: str | None
    """The revision that ``default`` stands for; None: one of that name, or the split."""
    split: dict[str, int] | None
    """Weights by revision, among which calls of ``default`` are divided."""
    created_at: int

    @property
    def has_alias(self) -> bool:
        """Whether ``default`` stands for other revisions."""
        return self.default_revision is not None or self.split is not None

    def default_without(self, revision: str) -> tuple[str | None, dict[str, int] | None]:
        """Return what ``default`` stands for, and the split, when a revision is gone."""
        split = {name: weight for name, weight in (self.split or {}).items() if name != revision}
        return None if self.default_revision == revision else self.default_revision, split or None


class Revision(NamedTuple):
    """One version of a function."""

    function: str
    name: str
    lambda_id: int | None
    """What a call runs as a job when nothing serves it; None: only its URLs are known."""
    module: str | None
    """``org/module/tag@sha256:digest``; None when it came from no registry."""
    replicas: int
    """How many are wanted."""
    created_at: int


class Url(NamedTuple):
    """A URL that somebody named for a revision."""

    function: str
    revision: str
    url: str
    source: str
    """``file`` or ``request``."""
    created_at: int


class ReplicaUrl(NamedTuple):
    """A URL at which a running replica of a revision is reached."""

    function: str
    revision: str
    url: str
    token: str
    """What callers must show to it."""


_function = (functions.c.name, functions.c.default_revision, functions.c.split, functions.c.created_at)
_revision = (
    revisions.c.function, revisions.c.name, revisions.c.lambda_id, revisions.c.module, revisions.c.replicas,
    revisions.c.created_at,
)  # fmt: skip
_url = (urls.c.function, urls.c.revision, urls.c.url, urls.c.source, urls.c.created_at)
_replica = (replicas.c.function, replicas.c.revision, replicas.c.url, replicas.c.token)

_this_function = functions.c.name == bindparam("which")
_this_revision = (revisions.c.function == bindparam("which"), revisions.c.name == bindparam("version"))
_this_url = (urls.c.function == bindparam("which"), urls.c.revision == bindparam("version"))

_insert_function = Statement(insert(functions), *(column.name for column in _function))
_functions = Statement(select(*_function).order_by(functions.c.name))
_by_name = Statement(select(*_function).where(_this_function), "which")
_lock_function = Statement(select(*_function).where(_this_function).with_for_update(key_share=True), "which")
_set_default = Statement(
    update(functions)
    .where(_this_function)
    .values(default_revision=bindparam("alias"), split=bindparam("weights")),
    "which", "alias", "weights",
)  # fmt: skip
_insert_revision = Statement(insert(revisions), *(column.name for column in _revision))
_revisions = Statement(select(*_revision).order_by(revisions.c.function, revisions.c.name))
_of_function = Statement(
    select(*_revision).where(revisions.c.function == bindparam("which")).order_by(revisions.c.name), "which"
)
_one_revision = Statement(select(*_revision).where(*_this_revision), "which", "version")
_change_revision = Statement(
    update(revisions)
    .where(*_this_revision)
    .values(lambda_id=bindparam("code"), module=bindparam("source"), replicas=bindparam("wanted")),
    "which", "version", "code", "source", "wanted",
)  # fmt: skip
_insert_url = Statement(insert(urls), *(column.name for column in _url))
_in_order = (urls.c.function, urls.c.revision, urls.c.created_at, urls.c.url)
_urls = Statement(select(*_url).order_by(*_in_order))
_urls_of = Statement(select(*_url).where(urls.c.function == bindparam("which")).order_by(*_in_order), "which")
_with_address = (*_this_url, urls.c.url == bindparam("address"))
_known_url = Statement(select(urls.c.url).where(*_with_address), "which", "version", "address")
_delete_url = Statement(delete(urls).where(*_with_address), "which", "version", "address")
_delete_urls_from = Statement(delete(urls).where(urls.c.source == bindparam("origin")), "origin")
_running = Statement(
    select(*_replica)
    .join(hosts, hosts.c.worker_id == replicas.c.worker_id)
    .where(replicas.c.state == "running", hosts.c.seen_at >= bindparam("since"))
    .order_by(replicas.c.function, replicas.c.revision, replicas.c.id),
    "since",
)
_empty_revision = [
    Statement(
        delete(table).where(table.c.function == bindparam("which"), table.c.revision == bindparam("version")),
        "which", "version",
    )
    for table in (urls, replicas, ended_logs, recorded_calls)
]  # fmt: skip
_lock = Statement(select(revisions.c.name).order_by(revisions.c.function, revisions.c.name).with_for_update())
_delete_revision = Statement(delete(revisions).where(*_this_revision), "which", "version")
_delete_function = Statement(delete(functions).where(_this_function), "which")


def add_function(connection: Connection, name: str, now: int) -> bool:
    """Store a function without revisions. Returns False when there is one of this name."""
    if find_function(connection, name) is not None:
        return False
    return _insert_function.run(connection, name, None, None, now) == 1


def find_function(connection: Connection, name: str) -> Function | None:
    row = _by_name.row(connection, name)
    return _to_function(row) if row else None


def lock_function(connection: Connection, name: str) -> Function | None:
    """Return a function, and have nobody else lock it until this transaction ends.

    Whoever says what ``default`` stands for, or removes a revision, does this first, so that what it reads stays.
    """
    row = _lock_function.row(connection, name)
    return _to_function(row) if row else None


def list_functions(connection: Connection) -> list[Function]:
    """Return all functions, by name."""
    return [_to_function(row) for row in _functions.rows(connection)]


def set_default(connection: Connection, name: str, revision: str | None, split: Mapping[str, int] | None) -> bool:
    """Say what ``default`` stands for. Returns False when there is no such function."""
    return _set_default.run(connection, name, revision, to_json(split)) == 1


def add_revision(connection: Connection, new: Revision) -> bool:
    """Store a revision of a function that is there. Returns False when there is one of this name."""
    if find_revision(connection, new.function, new.name) is not None:
        return False
    return _insert_revision.run(connection, *new) == 1


def find_revision(connection: Connection, function: str, name: str) -> Revision | None:
    row = _one_revision.row(connection, function, name)
    return Revision(*row) if row else None


def list_revisions(connection: Connection, function: str | None = None) -> list[Revision]:
    """Return the revisions of a function, or of all, by name."""
    rows = _revisions.rows(connection) if function is None else _of_function.rows(connection, function)
    return [Revision(*row) for row in rows]


def change_revision(connection: Connection, changed: Revision) -> bool:
    """Store another lambda, module and number of replicas. Returns False when there is no such revision."""
    _, _, lambda_id, module, wanted, _ = changed
    return _change_revision.run(connection, changed.function, changed.name, lambda_id, module, wanted) == 1


def lock_revisions(connection: Connection) -> None:
    """Have nobody else change revisions, or give their replicas hosts, until this transaction ends."""
    _lock.rows(connection)


def delete_revision(connection: Connection, function: str, name: str) -> bool:
    """Remove a revision with all that belongs to it, and the rows of its replicas, whose hosts then stop them.

    What ``default`` stands for is left as it is. Returns False when there is no such revision.
    """
    lock_revisions(connection)  # else its replicas might get a host meanwhile
    for statement in _empty_revision:
        statement.run(connection, function, name)
    return _delete_revision.run(connection, function, name) == 1


def delete_function(connection: Connection, name: str) -> bool:
    """Remove a function and all that belongs to it. Returns False when there is none of this name."""
    for revision in list_revisions(connection, name):
        delete_revision(connection, name, revision.name)
    return _delete_function.run(connection, name) == 1


def add_url(connection: Connection, new: Url) -> bool:
    """Store a URL of a revision that is there. Returns False when it has this URL already."""
    if _known_url.row(connection, *new[:3]) is not None:
        return False
    return _insert_url.run(connection, *new) == 1


def delete_url(connection: Connection, function: str, revision: str, url: str) -> bool:
    """Remove a URL of a revision. Returns False when it is not there."""
    return _delete_url.run(connection, function, revision, url) == 1


def delete_urls_from(connection: Connection, source: str) -> int:
    """Remove the URLs that came from there: ``file`` or ``request``. Returns how many."""
    return _delete_urls_from.run(connection, source)


def list_urls(connection: Connection, function: str | None = None) -> list[Url]:
    """Return the URLs that somebody named, of a function or of all, those of a revision in order of age."""
    rows = _urls.rows(connection) if function is None else _urls_of.rows(connection, function)
    return [Url(*row) for row in rows]


def list_running_replicas(connection: Connection, seen_since: int) -> list[ReplicaUrl]:
    """Return the replicas that run, on hosts that were heard of since then."""
    return [ReplicaUrl(*row) for row in _running.rows(connection, seen_since)]


def _to_function(row: Row) -> Function:
    name, default_revision, split, created_at = row
    weights = msgspec.json.decode(split, type=dict[str, int]) if split else None
    return Function(name, default_revision, weights, created_at)
