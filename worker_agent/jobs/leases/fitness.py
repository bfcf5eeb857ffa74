"""Whether this node can prepare jobs. While it cannot, for a fault of its own, it takes none and says why."""

import contextlib
import threading
from collections.abc import Callable

import structlog

from piecework.backoff import pause_after
from piecework.client import ClientError
from piecework.protocol.messages import ContractRequest
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.jobs.leases.lease_table import Demand
from piecework.worker_agent.link.membership import Membership
from piecework.worker_agent.link.shared import Shared

log = structlog.get_logger()

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""How long no jobs are taken after a fault; doubled when the next comes soon."""
NOTHING = Demand(capacity=0, slots=0)
"""No jobs are wanted, not even for an idle slot."""
TELL_S = 15.0
"""The server is told so often that the node takes no jobs, lest it takes the agent for gone."""


class Fitness:
    """Takes note of the node's faults. Its methods may be called from any thread.

    ``probe`` sees whether the fault is gone; it raises OSError or AgentError when it is not.
    """

    def __init__(self, shared: Shared, membership: Membership, probe: Callable[[], None]) -> None:
        self._server = shared.pulse_server
        self._clock = shared.clock
        self._membership = membership
        self._probe = probe
        self._lock = threading.Lock()
        self._trouble = ""
        self._since = 0.0
        self._again_at = 0.0
        self._tell_at = 0.0
        self._failures = 0
        """In a row."""

    @property
    def trouble(self) -> str:
        """Why no jobs are taken; "" when they are."""
        return self._trouble

    def limit(self, demand: Demand) -> Demand:
        """Return how many jobs to hold: as many as is wished, or none while the node cannot prepare them."""
        return NOTHING if self._trouble else demand

    def falter(self, trouble: str) -> None:
        """Note that a job could not be prepared, or its output not kept. What the server holds for us ends."""
        with self._lock:
            if self._trouble:
                return
            now = self._clock()
            if now - self._again_at > LONGEST_PAUSE_S:
                self._failures = 0
            self._trouble, self._since = trouble, now
            self._pause(now)
        log.warning("cannot prepare jobs, taking none", reason=trouble)
        self._tell()

    def tick(self) -> None:
        """Look whether jobs can be taken again; called about every second."""
        now = self._clock()
        if not self._trouble:
            return
        if now >= self._again_at and self._is_well():
            log.info("can prepare jobs again", after_s=round(now - self._since, 1))
            self._trouble = ""
        elif now >= self._tell_at:
            self._tell()

    def _is_well(self) -> bool:
        try:
            self._probe()
        except (OSError, AgentError):
            self._pause(self._clock())
            return False
        return True

    def _pause(self, now: float) -> None:
        self._failures += 1
        self._again_at = now + pause_after(self._failures, FIRST_PAUSE_S, LONGEST_PAUSE_S)

    def _tell(self) -> None:
        """Say why nothing is asked for. A contract without room ends the polls that the server holds."""
        self._tell_at = self._clock() + TELL_S
        if self._membership.joined:
            word = ContractRequest(
                max=0, timeout=0, incarnation=self._membership.incarnation, trouble=self._trouble
            )
            with contextlib.suppress(ClientError):
                self._server.contract(self._membership.worker_id, word)
