"""Everything that is known about functions, in one reading."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from piecework.protocol.matching import TagSet
from piecework.protocol.messages import Traffic
from piecework.server.services.core import Core
from piecework.server.services.functions.allocation import HostState
from piecework.server.services.functions.calls import CallStatistics
from piecework.server.services.functions.functions import require_function
from piecework.server.services.functions.health import Health
from piecework.server.services.functions.routing import DEFAULT, HOST_SILENT_MS
from piecework.server.services.stock.lambdas import Lambdas
from piecework.server.store.engine.database import Connection
from piecework.server.store.functions import functions, recorded_calls, replicas
from piecework.server.store.functions.functions import Function, Revision
from piecework.server.store.functions.replicas import HostRow, Name, ReplicaRow, WantedRevision
from piecework.server.store.records import Lambda


class RevisionView(NamedTuple):
    """One version of a function, with what belongs to it."""

    revision: Revision
    lambda_: Lambda | None
    checksum: str
    """SHA-256 of the code, hex; "" without a lambda."""
    replicas: Sequence[ReplicaRow]
    urls: Sequence[str]
    share: float
    """Of the calls that name no revision, from 0 to 1."""
    traffic: Traffic | None
    """What passed this server; None when nothing did."""
    set_aside: Mapping[str, str]
    """URLs that calls to this server pass by, each with the reason."""
    recorded: int
    """How many recorded calls are kept of it."""
    advice: str
    """Why it has fewer replicas than it should; "" when it has them, or nothing is known."""


class FunctionView(NamedTuple):
    """A function with its revisions, newest first."""

    function: Function
    revisions: Sequence[RevisionView]
    hosts: Mapping[int, HostRow]
    """By worker id: those of the replicas are among them."""


@dataclass(frozen=True)
class _Rows:
    """What is stored of one function, or of all."""

    functions: Sequence[Function]
    revisions: Mapping[str, Sequence[Revision]]
    replicas: Mapping[Name, Sequence[ReplicaRow]]
    urls: Mapping[Name, Sequence[str]]
    hosts: Sequence[HostRow]
    recorded: Mapping[Name, int]


class Overview:
    """Reads how functions stand."""

    def __init__(self, core: Core, lambdas: Lambdas, calls: CallStatistics, health: Health) -> None:
        self._database, self._clock = core.database, core.clock
        self._lambdas = lambdas
        self._calls = calls
        self._health = health

    def of_all(self) -> list[FunctionView]:
        """Return all functions, by name."""
        with self._database.read() as connection:
            rows = _read(connection, functions.list_functions(connection))
        return self._view(rows)

    def of(self, name: str) -> FunctionView:
        """Return one function. Raises FunctionNotFound."""
        with self._database.read() as connection:
            rows = _read(connection, [require_function(connection, name)], name)
        return self._view(rows)[0]

    def _view(self, rows: _Rows) -> list[FunctionView]:
        shown = [each for function in rows.functions for each in rows.revisions.get(function.name, ())]
        known = self._lambdas.get_many(each.lambda_id for each in shown if each.lambda_id is not None)
        codices = self._lambdas.find_codices(each.codex for each in known.values())
        hosts = {host.worker_id: host for host in rows.hosts}
        views = []
        for function in rows.functions:
            revisions = sorted(rows.revisions.get(function.name, ()), key=lambda each: -each.created_at)
            shares = share_out(function, [each.name for each in revisions])
            views.append(
                FunctionView(
                    function,
                    [self._view_one(each, rows, known, codices, shares.get(each.name, 0.0)) for each in revisions],
                    hosts,
                )
            )
        return views

    def _view_one(
        self,
        revision: Revision,
        rows: _Rows,
        known: Mapping[int, Lambda],
        codices: Mapping[int, tuple[bytes, int]],
        share: float,
    ) -> RevisionView:
        lambda_ = None if revision.lambda_id is None else known[revision.lambda_id]
        digest, _ = codices.get(lambda_.codex, (b"", 0)) if lambda_ else (b"", 0)
        name = revision.function, revision.name
        running = rows.replicas.get(name, ())
        advice = ""
        if lambda_ is not None and len(running) < revision.replicas:
            wanted = WantedRevision(
                *name, revision.replicas, lambda_.id, lambda_.runtime, TagSet.parse(lambda_.options.tags)
            )
            advice = _advise(wanted, len(running), rows.hosts, self._clock())
        traffic, urls = self._calls.read(*name), rows.urls.get(name, ())
        set_aside = self._health.reasons([*urls, *(each.url for each in running if each.url)])
        recorded = rows.recorded.get(name, 0)
        return RevisionView(
            revision, lambda_, digest.hex(), running, urls, share, traffic, set_aside, recorded, advice
        )


def share_out(function: Function, revisions: Sequence[str]) -> dict[str, float]:
    """Return which share of the calls that name no revision each one gets, from 0 to 1."""
    weights = function.split or {function.default_revision or DEFAULT: 1}
    there = {name: weight for name, weight in weights.items() if name in revisions}
    return {name: weight / sum(there.values()) for name, weight in there.items()}


def _read(connection: Connection, shown: Sequence[Function], only: str | None = None) -> _Rows:
    revisions, running, urls = defaultdict(list), defaultdict(list), defaultdict(list)
    for revision in functions.list_revisions(connection, only):
        revisions[revision.function].append(revision)
    for replica in replicas.list_replicas(connection):
        running[replica.name].append(replica)
    for url in functions.list_urls(connection, only):
        urls[url.function, url.revision].append(url.url)
    recorded = recorded_calls.count_calls(connection, only)
    return _Rows(shown, revisions, running, urls, replicas.list_hosts(connection), recorded)


def _advise(wanted: WantedRevision, has: int, hosts: Sequence[HostRow], now: int) -> str:
    """Say why replicas have no host."""
    missing = wanted.replicas - has
    subject = "1 replica has no host" if missing == 1 else f"{missing} replicas have no host"
    live = [
        HostState(each.worker_id, each.slots, each.runtimes, each.tags)
        for each in hosts
        if each.seen_at >= now - HOST_SILENT_MS and each.slots and not each.drains and not each.retired
    ]
    if not live:
        return f"{subject}: no worker runs functions now; start one with worker-agent run --functions N"
    if not any(host.fits(wanted) for host in live):
        asked = f" and has the tags {_tags(wanted.tags)}" if any(wanted.tags[1:]) else ""
        return f"{subject}: no worker that runs functions offers {wanted.runtime}{asked}"
    return f"{subject}: every worker that could run it is full"


def _tags(tags: TagSet) -> str:
    return " ".join(
        [*(f"+{tag}" for tag in sorted(tags.necessary)), *(f"-{tag}" for tag in sorted(tags.rejected))]
    )
