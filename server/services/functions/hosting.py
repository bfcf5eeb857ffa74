"""Replicas on hosts: what hosts report, which host is to run what, and the orders that tell them."""

import secrets
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Self

import structlog
from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import FunctionOrders, FunctionReport, ReplicaOrder, ReplicaReport, ReplicaState
from piecework.server.errors import InvalidRequest
from piecework.server.services.core import Core
from piecework.server.services.functions.allocation import AllocationPlan, HostState, allocate
from piecework.server.services.functions.names import check_url
from piecework.server.services.functions.routing import HOST_SILENT_MS, Routing
from piecework.server.services.stock.lambdas import Lambdas
from piecework.server.services.stock.workers import hear_of, require_worker
from piecework.server.store.engine.database import Connection
from piecework.server.store.functions import functions, replicas
from piecework.server.store.functions.replicas import HostRow, OrderRow, ReplicaRow, WantedRevision
from piecework.server.store.records import Lambda

log = structlog.get_logger("server")

BLIND_MS = 2_500
"""After a longer pause than this between two looks, a server cannot know who was silent meanwhile."""
FAILURES_MAX = 5
"""After so many failures in a row, a replica may go to another host."""


class Hosting:
    """The hosts of functions, and what runs on them."""

    def __init__(self, core: Core, lambdas: Lambdas, routing: Routing) -> None:
        self._database, self._ids, self._clock, self._settings = core.database, core.ids, core.clock, core.settings
        self._lambdas = lambdas
        self._routing = routing
        self._visibility = HostVisibility(core.clock)

    def report(self, worker_id: int, report: FunctionReport) -> FunctionOrders:
        """Keep what a host says of its replicas, find hosts for those that have none, tell this host what to run.

        Raises WorkerNotFound, WorkerRetired or InvalidRequest. Safe to repeat.
        """
        _check_urls(report.replicas)
        drain, moved = self._database.write(partial(self._keep, worker_id=worker_id, report=report), durable=False)
        failing = {int(each.id) for each in report.replicas if each.failures >= FAILURES_MAX}
        if self._allocate(failing) or moved:
            self._routing.note_change()
        with self._database.read() as connection:
            orders = replicas.list_orders(connection, worker_id)
        return FunctionOrders(replicas=self._describe(orders), drain=drain)

    def _keep(self, connection: Connection, worker_id: int, report: FunctionReport) -> tuple[bool, bool]:
        """Store a report. Returns whether the worker drains, and whether a replica got another state or URL."""
        now = self._clock()
        worker = hear_of(connection, require_worker(connection, worker_id), report.incarnation, now)
        replicas.hear_host(connection, worker_id, report.slots, now)
        named = {each.id: each for each in report.replicas}
        moved = False
        for known in replicas.replicas_of_host(connection, worker_id):
            told = named.get(Id(known.id)) or ReplicaReport(id=Id(known.id), state=ReplicaState.STARTING)
            if known.id in named:
                replicas.note_report(connection, known, told, now)
            else:  # its process is not there yet, or no more
                replicas.forget_report(connection, known, now)
            moved |= (known.state, known.url) != (told.state, told.url)
        return worker.draining, moved

    def look_around(self) -> None:
        """Take dead hosts' replicas away also when nobody reports."""
        if self._allocate():
            self._routing.note_change()

    def _allocate(self, failing: Collection[int] = ()) -> bool:
        """Take and give replicas where that must be. Returns whether anything changed."""
        with self._database.read() as connection:
            situation = Situation.read(connection)
        since = self._visibility.look()
        if not any(situation.plan(since, self._clock(), failing)):
            return False
        return self._database.write(partial(self._carry_out, since=since, failing=failing), durable=False)

    def _carry_out(self, connection: Connection, since: int, failing: Collection[int]) -> bool:
        functions.lock_revisions(connection)  # servers that share the database do this in turn
        now = self._clock()
        situation = Situation.read(connection)
        plan = situation.plan(since, now, failing)
        replicas.delete_replicas(connection, plan.drop, now)
        for wanted, worker_id in plan.add:
            new = OrderRow(self._ids.next(), *wanted.name, secrets.token_hex(16), wanted.lambda_id)
            replicas.add_replica(connection, new, worker_id, now)
        dead = [host.worker_id for host in situation.hosts if host.seen_at < since]
        for worker_id in dead:
            replicas.delete_host(connection, worker_id, since)
        if any(plan):
            log.info("replicas allocated", dropped=len(plan.drop), added=len(plan.add), dead=len(dead))
        return any(plan)

    def _describe(self, orders: Sequence[OrderRow]) -> list[ReplicaOrder]:
        known = self._lambdas.get_many(each.lambda_id for each in orders)
        codices = self._lambdas.find_codices(each.codex for each in known.values())
        return [self._describe_one(each, known[each.lambda_id], codices) for each in orders]

    def _describe_one(
        self, order: OrderRow, found: Lambda, codices: Mapping[int, tuple[bytes, int]]
    ) -> ReplicaOrder:
        digest, size = codices.get(found.codex, (b"", 0))
        options = found.options
        return ReplicaOrder(
            id=Id(order.id),
            function=order.function,
            revision=order.revision,
            lambda_=Id(found.id),
            runtime=found.runtime,
            codex=Id(found.codex),
            codex_checksum=digest.hex(),
            codex_size=size,
            args=list(options.args),
            env=options.env,
            limits=options.limits.over(self._settings.default_limits),
            grants=options.grants,
            mode=options.mode,
            record=options.recording or UNSET,
            token=order.token,
        )


class Situation(NamedTuple):
    """What is wanted and what there is, at one moment."""

    wanted: list[WantedRevision]
    hosts: list[HostRow]
    replicas: list[ReplicaRow]

    @classmethod
    def read(cls, connection: Connection) -> Self:
        return cls(
            replicas.list_wanted(connection), replicas.list_hosts(connection), replicas.list_replicas(connection)
        )

    def plan(self, since: int, now: int, failing: Collection[int] = ()) -> AllocationPlan:
        """Return what to change, when hosts that were not heard of since then are dead."""
        hosts = [
            HostState(
                each.worker_id,
                0 if each.drains else each.slots,
                each.runtimes,
                each.tags,
                is_open=each.seen_at >= now - HOST_SILENT_MS,
            )
            for each in self.hosts
            if each.seen_at >= since and not each.retired
        ]
        return allocate(self.wanted, hosts, self.replicas, failing)


class HostVisibility:
    """How long a server has been seeing, without a break, which hosts report.

    After a break, because it was stopped or its database was away, every host has its full time from then on: else
    the first one that reports would get the replicas of all others.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = self._since = clock()

    def look(self) -> int:
        """Note a look at the hosts. Returns the time since which one must have been heard of to be alive."""
        with self._lock:
            now = self._clock()
            if now - self._last > BLIND_MS:
                self._since = now
            self._last = now
            return now - HOST_SILENT_MS if now - self._since >= HOST_SILENT_MS else 0


def _check_urls(reports: Sequence[ReplicaReport]) -> None:
    """Raise InvalidRequest unless every replica that runs says where."""
    for each in reports:
        if each.url is not None:
            check_url(each.url)
        elif each.state is ReplicaState.RUNNING:
            raise InvalidRequest(f"replica {each.id} is running, but has no url")
