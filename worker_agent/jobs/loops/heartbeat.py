"""Heartbeats: renew what is held, pass on logs, learn what is lost or cancelled."""

from collections.abc import Callable

import structlog

from piecework.client import ClientError
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    HeartbeatReply,
    HeartbeatRequest,
    LeaseRef,
    LogPart,
)
from piecework.worker_agent.jobs.executing import GuestExecutor
from piecework.worker_agent.jobs.shared import JobsShared
from piecework.worker_agent.jobs.work.stopping import JobStopper
from piecework.worker_agent.link.link import is_refusal
from piecework.worker_agent.link.membership import Membership, is_unknown_worker

log = structlog.get_logger()

INTERVAL_MAX_S = 5.0
"""A cancelled guest runs on for no longer than about this."""
UNSENT_LOG_BYTES = 1024 * 1024
"""Log kept for the next heartbeat after one that failed; the job's outcome has it all anyway."""


class Heartbeat:
    """Renews all leases when it is time to; sooner when a job has logged something."""

    def __init__(
        self,
        shared: JobsShared,
        membership: Membership,
        executor: GuestExecutor,
        stopper: JobStopper,
        *,
        on_drain: Callable[[], None],
    ) -> None:
        self._server = shared.pulse_server
        self._lease_table = shared.lease_table
        self._link = shared.link
        self._clock = shared.clock
        self._pace = shared.pace
        self._backoff = shared.new_backoff()
        self._membership = membership
        self._executor = executor
        self._stopper = stopper
        self._on_drain = on_drain
        self._interval_s = INTERVAL_MAX_S
        self._unsent: list[LogPart] = []
        self._due_at = shared.clock()
        self._hold_until = shared.clock()

    @property
    def tick_s(self) -> float:
        """How long to wait between two calls of ``tick``: no longer than until a heartbeat is due."""
        due_s = self._due_at - self._clock()
        return min(self._pace.idle_s, due_s if due_s > 0 else self._interval_s)

    def note_lease(self, lease_s: float) -> None:
        """Learn how long leases are: three heartbeats fit into one."""
        self._interval_s = min(INTERVAL_MAX_S, lease_s / 3)
        self._due_at = min(self._due_at, self._clock() + self._interval_s)

    def tick(self) -> None:
        """Send a heartbeat if one is due."""
        now = self._clock()
        self._unsent += [
            LogPart(job=Id(part.job), lease=part.lease, log=part.log, offset=part.offset)
            for part in self._executor.read_logs()
        ]
        leases = self._lease_table.refs()
        if not leases:
            self._unsent.clear()
        elif now >= self._hold_until and (self._unsent or now >= self._due_at):
            self._due_at = now + self._interval_s
            self._beat(leases)

    def _beat(self, leases: list[LeaseRef]) -> None:
        worker = self._membership.worker_id
        request = HeartbeatRequest(leases=leases, logs=self._unsent, incarnation=self._membership.incarnation)
        try:
            reply = self._server.heartbeat(worker, request)
        except ClientError as error:
            self._recover(worker, error)
            return
        self._unsent = []
        self._backoff.reset()
        self._link.answered()
        self._obey(leases, reply)

    def _recover(self, worker: Id, error: ClientError) -> None:
        """Prepare the next try: register again if that is why, and keep the newest of the log for it."""
        self._hold_until = self._clock() + min(self._interval_s, self._backoff.next_s(error))
        self._due_at = self._hold_until
        keep_bytes = 0 if is_refusal(error) else UNSENT_LOG_BYTES
        while sum(len(part.log) for part in self._unsent) > keep_bytes:
            del self._unsent[0]
        try:
            if not is_unknown_worker(error):
                raise error
            self._membership.renew(worker)
        except ClientError as failure:
            self._link.failed(failure)

    def _obey(self, leases: list[LeaseRef], reply: HeartbeatReply) -> None:
        renewed = {(lease.job, lease.lease) for lease in reply.leases}
        if reply.leases:
            self.note_lease(min(lease.lease_s for lease in reply.leases))
        lost, cancelled = set(reply.lost), set(reply.cancel)
        for ref in leases:
            if ref.job in cancelled:
                self._stopper.cancel(ref)
            elif ref.job in lost and (ref.job, ref.lease) not in renewed:
                self._stopper.drop(ref)
        if reply.drain:
            self._on_drain()
