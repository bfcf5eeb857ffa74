"""Stopping jobs before their end: lost, cancelled, or handed back."""

from collections.abc import Sequence

import structlog

from piecework.protocol.messages import LeaseRef, Outcome
from piecework.protocol.states import JobState
from piecework.worker_agent.errors import ExecutorStoppedError
from piecework.worker_agent.jobs.executing import GuestExecutor
from piecework.worker_agent.jobs.leases.lease_table import LeaseTable, hand_back
from piecework.worker_agent.jobs.leases.outbox import ref_of
from piecework.worker_agent.tasks import LeasedTask

log = structlog.get_logger()


class JobStopper:
    """Stops jobs wherever they are: being prepared, waiting, running, or uploading their output.

    The lease_table is told first, the executor second. Who gives a job to the executor does it the other way
    round: first submit, then look into the lease table. So no job slips through between the two.
    """

    def __init__(self, lease_table: LeaseTable, executor: GuestExecutor) -> None:
        self._lease_table = lease_table
        self._executor = executor

    def drop(self, ref: LeaseRef) -> None:
        """Stop a job whose lease is lost; its outcome is wanted no more."""
        if self._lease_table.forget(ref):
            log.warning("lease lost, job stopped", job=ref.job)
            self._executor.cancel(ref.job, ref.lease)

    def cancel(self, ref: LeaseRef) -> None:
        """Stop a job that someone cancelled."""
        if self._lease_table.is_open(ref):  # otherwise its end is on its way, and the server may have it already
            log.info("cancelled", job=ref.job)
            self._stop(ref, JobState.CANCELLED)

    def hand_back_waiting(self, keep: int = 0) -> int:
        """Hand back the jobs that the executor has not started, but for the first; return how many they were."""
        tasks = self._executor.take_back()
        self._return(tasks[:keep])
        return len(self._lease_table.end(*[hand_back(ref_of(task)) for task in tasks[keep:]]))

    def hand_back_running(self) -> None:
        """Stop all jobs that have not ended, to hand them back."""
        for ref in self._lease_table.open_refs():
            self._stop(ref, JobState.ENQUEUED)

    def _return(self, tasks: Sequence[LeasedTask]) -> None:
        """Give tasks to the executor again, unless they were stopped meanwhile."""
        try:
            self._executor.submit(*tasks)
        except ExecutorStoppedError:
            self._lease_table.end(*[hand_back(ref_of(task)) for task in tasks])
            return
        for task in tasks:
            ref = ref_of(task)
            if not self._lease_table.is_open(ref) or self._lease_table.stop_asked(ref):
                self._executor.cancel(task.job, task.lease)

    def _stop(self, ref: LeaseRef, state: JobState) -> None:
        if not self._lease_table.ask_to_stop(ref, state):
            return
        if not self._executor.cancel(ref.job, ref.lease):
            self._lease_table.end(Outcome(job=ref.job, lease=ref.lease, state=state))
