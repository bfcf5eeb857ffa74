"""The reporter: hands in outcomes while the contract loop is inside a long poll, and only then."""

from piecework.client import ClientError
from piecework.worker_agent.jobs.leases.sending import OutcomeSender
from piecework.worker_agent.jobs.shared import JobsShared


class Reporter:
    """Sees to it that no outcome waits for the end of a poll."""

    def __init__(self, shared: JobsShared, sender: OutcomeSender) -> None:
        self._shared = shared
        self._sender = sender
        self._backoff = shared.new_backoff()

    def step(self) -> None:
        """Hand in the outcomes that have nothing to ride on, if there are any."""
        outcomes = self._shared.lease_table.take_during_poll(self._shared.pace.idle_s)
        if not outcomes:
            return
        try:
            self._sender.finish(outcomes)
        except ClientError as error:
            self._shared.stop.wait(self._backoff.next_s(error))
        else:
            self._backoff.reset()
