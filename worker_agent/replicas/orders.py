"""The control server's orders: report how replicas do, run those that it orders and no others."""

import threading
from collections.abc import Callable

import structlog

from piecework.client import ClientError
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    FunctionOrders,
    FunctionReport,
    ReplicaOrder,
    ReplicaReport,
    ReplicaState,
    given,
)
from piecework.protocol.text import clean_text
from piecework.worker_agent.link.link import is_refusal
from piecework.worker_agent.link.membership import Membership, is_unknown_worker
from piecework.worker_agent.link.shared import Shared
from piecework.worker_agent.replicas.code import CodeStore
from piecework.worker_agent.replicas.launcher import ReplicaSpec
from piecework.worker_agent.replicas.recordings import HAND_IN_S, Recordings
from piecework.worker_agent.replicas.supervisor import SupervisedReplica, Supervisor

log = structlog.get_logger()

REPORT_S = 1.0
"""Between two reports, unless something happens."""
LONGEST_PAUSE_S = 3.0
"""Between two tries while the server is away: its calls find their way back soon after it."""
REFUSED_PAUSE_S = 30.0
"""After a server said that it knows nothing of all this, or does not let this agent."""
LOG_PART_BYTES = 32 * 1024
"""Of one replica's log in one report."""
PREFIX = "order-"
"""How the keys of ordered replicas begin."""


class Orders:
    """Carries out orders. ``step`` is for one thread, ``hand_in`` for another; all else may be called by any.

    Replicas go on while the server is away: only its answer says which of them are not wanted any more.
    """

    def __init__(
        self,
        shared: Shared,
        membership: Membership,
        supervisor: Supervisor,
        codes: CodeStore,
        recordings: Recordings,
        *,
        host: str,
        find_slots: Callable[[], int],
        on_drain: Callable[[], None],
    ) -> None:
        """``find_slots`` tells how many replicas the server may order."""
        self._shared = shared
        self._membership = membership
        self._supervisor = supervisor
        self._codes = codes
        self._recordings = recordings
        self._host = host
        self._find_slots = find_slots
        self._on_drain = on_drain
        self._backoff = shared.new_backoff()
        self._wake = threading.Event()
        self._leaving = False
        self._released = threading.Event()
        """The server expects nothing of this host any more, or does not answer one that leaves."""
        self._reported: dict[str, int] = {}
        """By key: so many bytes of log the server has."""
        supervisor.listeners.append(self._wake.set)

    def step(self) -> None:
        """Report and obey once, then wait until it is time to do so again."""
        self._wake.clear()
        if self._membership.joined and not self._released.is_set():
            worker = self._membership.worker_id
            try:
                self._obey(self._report(worker, 0 if self._leaving else self._find_slots()))
            except ClientError as error:
                if self._leaving:
                    self._released.set()
                else:
                    self._shared.stop.wait(self._recover(worker, error))
                return
            self._backoff.reset()
            self._shared.link.answered()
            replicas = [Id(key.removeprefix(PREFIX)) for key in self._supervised()]
            self._recordings.tidy(replicas)
        self._wake.wait(REPORT_S)

    def hand_in(self) -> None:
        """Hand in the calls that replicas recorded once, then wait until it is time to do so again.

        For a thread of its own: nobody waits for it.
        """
        if self._membership.joined:
            self._recordings.hand_in(self._membership.worker_id, self._shared.server)
        self._shared.stop.wait(HAND_IN_S)

    def leave(self) -> None:
        """Take no more replicas. Those that run go on while the server has others start in their place."""
        self._leaving = True
        self._wake.set()

    def hand_over(self, timeout_s: float) -> None:
        """Wait until none is needed any more, then tell the server that those left end, no matter if it hears."""
        if not self._membership.joined:
            return
        if self._supervised() and not self._released.is_set():
            log.info("replicas go on until others run in their place", replicas=len(self._supervised()))
            if not self._released.wait(timeout_s):
                log.warning("replicas end, although others do not run yet", replicas=len(self._supervised()))
        self._released.set()
        try:
            self._report(self._membership.worker_id, 0)
        except ClientError as error:
            log.info("the server was not told that replicas end", reason=str(error))

    def _report(self, worker: Id, slots: int) -> FunctionOrders:
        supervised = self._supervised()
        report = FunctionReport(
            slots=slots,
            replicas=[self._describe(entry) for entry in supervised.values()],
            incarnation=self._membership.incarnation,
        )
        orders = self._shared.pulse_server.report_functions(worker, report)
        for key, found in zip(supervised, report.replicas, strict=True):
            self._reported[key] = found.log_start + len(found.log)
        return orders

    def _describe(self, entry: SupervisedReplica) -> ReplicaReport:
        replica = entry.replica
        start, part = entry.log.read(self._reported.get(entry.key, 0), LOG_PART_BYTES)
        url, figures = replica.url, replica.figures
        # The state may change at any moment: what has a URL runs.
        state = ReplicaState.RUNNING if url is not None else replica.state
        if url is None and state is ReplicaState.RUNNING:
            state = ReplicaState.FAILED
        return ReplicaReport(
            id=Id(entry.key.removeprefix(PREFIX)),
            state=ReplicaState.STOPPING if self._released.is_set() else state,
            url=url,
            pid=replica.pid,
            error=clean_text(replica.error) if state is ReplicaState.FAILED else "",
            failures=replica.failures,
            calls=figures.calls,
            errors=figures.errors,
            p50_ms=figures.p50_ms,
            p99_ms=figures.p99_ms,
            unrecorded=dict(figures.unrecorded),
            log=part,
            log_start=start,
        )

    def _obey(self, orders: FunctionOrders) -> None:
        supervised = self._supervised()
        wanted = {f"{PREFIX}{int(order.id)}": order for order in orders.replicas}
        self._supervisor.remove(*(supervised.keys() - wanted.keys()))
        for key, order in wanted.items():
            if key not in supervised and not self._leaving:
                log.info("replica ordered", function=order.function, revision=order.revision)
                self._supervisor.add(key, self._read(order))
        for key in self._reported.keys() - wanted.keys() - supervised.keys():
            del self._reported[key]
        if self._leaving and not wanted:
            self._released.set()
        if orders.drain:
            self._on_drain()

    def _read(self, order: ReplicaOrder) -> ReplicaSpec:
        record = given(order.record)
        return ReplicaSpec(
            function=order.function,
            revision=order.revision,
            code=self._codes.of_server(order.codex, order.codex_checksum),
            runtime=order.runtime,
            args=tuple(order.args),
            env=order.env,
            limits=order.limits,
            grants=order.grants,
            mode=order.mode,
            record=record,
            record_to=None if record is None else self._recordings.open_folder(order.id),
            token=order.token,
            host=self._host,
        )

    def _supervised(self) -> dict[str, SupervisedReplica]:
        return {entry.key: entry for entry in self._supervisor.replicas() if entry.key.startswith(PREFIX)}

    def _recover(self, worker: Id, error: ClientError) -> float:
        """Prepare the next try; return how long to wait for it, seconds."""
        if is_unknown_worker(error):
            try:
                self._membership.renew(worker)
            except ClientError as failure:
                self._shared.link.failed(failure)
        elif is_refusal(error):
            log.warning("the server takes no report about functions", reason=str(error))
            return REFUSED_PAUSE_S
        else:
            self._shared.link.failed(error)
        return min(LONGEST_PAUSE_S, self._backoff.next_s(error))
