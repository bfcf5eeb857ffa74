"""Leases whose workers do not know the token: they show that they live by what else they ask for.

The lease that such a contract leaves is short, for its answer may have reached nobody. A request for the job or
for its input makes it long, once: there are no heartbeats.
"""

from functools import partial

from piecework.protocol.ids import NO_ID
from piecework.server.services.core import Core
from piecework.server.services.queue.reading.jobs import require_job
from piecework.server.services.stock.data import require_blob
from piecework.server.store.queue.leasing import leases
from piecework.server.store.records import Blob, Job


class Unfenced:
    """Takes requests about jobs as signs of life."""

    def __init__(self, core: Core) -> None:
        self._database, self._clock = core.database, core.clock
        self._lease_ms = round(core.settings.legacy_lease_s * 1000)

    def hear_about_job(self, job: Job) -> Job:
        """Make the first lease of a job a long one. Returns the job as it is then."""
        if job.lease_kind != "first":
            return job
        until = self._clock() + self._lease_ms
        if self._database.write(partial(leases.confirm_by_job, job_id=job.id, until=until), durable=False):
            return job._replace(lease_kind="unfenced", lease_until=until)
        with self._database.read() as connection:
            return require_job(connection, job.id)

    def get_blob(self, id_: int) -> Blob:
        """Return a blob as ``Data.get`` does, and make the first leases of jobs with this input long ones."""
        with self._database.read() as connection:
            # Many jobs have no input: to fetch that says nothing of one of them.
            is_first = id_ != NO_ID and leases.has_first_lease(connection, id_)
            blob = require_blob(connection, id_)
        if is_first:
            until = self._clock() + self._lease_ms
            self._database.write(partial(leases.confirm_by_input, input_id=id_, until=until), durable=False)
        return blob
