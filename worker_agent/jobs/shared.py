"""What the parts of the job loop have in common."""

from dataclasses import dataclass

from piecework.worker_agent.jobs.leases.lease_table import LeaseTable
from piecework.worker_agent.link.shared import Shared


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsShared(Shared):
    """Handed to every part that works on jobs."""

    lease_table: LeaseTable
