"""Requests that carry outcomes: what arrived is settled, what may not have arrived is kept."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from piecework.client import BadReply, ClientError, Invalid, TooLarge
from piecework.protocol.codes import Code
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    ContractReply,
    ContractRequest,
    FinishReply,
    FinishRequest,
    Outcome,
    OutcomeAck,
)
from piecework.worker_agent.jobs.leases.outbox import ref_of
from piecework.worker_agent.jobs.shared import JobsShared
from piecework.worker_agent.link.membership import Membership, is_unknown_worker

log = structlog.get_logger()
R = TypeVar("R")


class OutcomeSender:
    """Takes outcomes to the server. Whatever a request comes to, none of them is lost or counted twice."""

    def __init__(self, shared: JobsShared, membership: Membership) -> None:
        self._server = shared.server
        self._lease_table = shared.lease_table
        self._link = shared.link
        self._membership = membership
        self.on_receipt_refused: Callable[[str], None] = lambda _why: None
        """Hears that the server does not believe a receipt of this agent, with its reason."""

    def contract(self, request: ContractRequest) -> ContractReply:
        """Ask for jobs, with outcomes on board; the caller admits the jobs, then settles the acks.

        Raises ClientError; the outcomes wait again then, or were handed in one by one.
        """
        return self._send(request.outcomes, lambda worker: self._server.contract(worker, request))

    def finish(self, outcomes: list[Outcome]) -> None:
        """Hand in outcomes at once. Raises ClientError, as ``contract`` does."""
        reply = self._send(outcomes, lambda worker: self._finish(worker, outcomes))
        self.settle(outcomes, reply.acks)

    def settle(self, outcomes: Sequence[Outcome], acks: Sequence[OutcomeAck]) -> None:
        """Drop the outcomes that the server has answered for; log those that it refused.

        Raises BadReply when it left some out; these wait again.
        """
        for ack in acks:
            if ack.code:
                log.warning("outcome refused", job=ack.job, code=ack.code, reason=ack.message or "")
            if ack.code == Code.RECEIPT_REFUSED:
                self.on_receipt_refused(f"the server refused what it signed: {ack.message or ''}")
        answered = {ref_of(ack) for ack in acks}
        self._lease_table.settle(answered)
        left = [outcome for outcome in outcomes if ref_of(outcome) not in answered]
        if left:
            self._lease_table.put_back(left)
            raise BadReply(f"the server did not say what became of {len(left)} outcomes")

    def _send(self, outcomes: Sequence[Outcome], request: Callable[[Id], R]) -> R:
        worker = self._membership.worker_id
        try:
            reply = request(worker)
        except (Invalid, TooLarge):
            self._deliver_singly(worker, outcomes)
            raise
        except ClientError as error:
            self._lease_table.put_back(outcomes)
            self._explain(worker, error)
            raise
        except BaseException:
            self._lease_table.put_back(outcomes)
            raise
        self._link.answered()
        return reply

    def _explain(self, worker: Id, error: ClientError) -> None:
        """Do about a failed request what can be done: register again, or note that the server is away."""
        if is_unknown_worker(error):
            self._membership.renew(worker)
        else:
            self._link.failed(error)

    def _finish(self, worker: Id, outcomes: list[Outcome]) -> FinishReply:
        return self._server.finish(worker, FinishRequest(outcomes=outcomes))

    def _deliver_singly(self, worker: Id, outcomes: Sequence[Outcome]) -> None:
        """Hand in each outcome alone, because the server cannot read the request with all of them.

        One that it cannot read even so is given up: its lease will run out.
        """
        left = deque(outcomes)
        try:
            while left:
                outcome = left[0]
                try:
                    self.settle([outcome], self._finish(worker, [outcome]).acks)
                except (Invalid, TooLarge) as error:
                    log.error("outcome given up", job=outcome.job, reason=error.message)  # noqa: TRY400  # theirs
                    self._lease_table.settle([ref_of(outcome)])
                left.popleft()
        finally:
            self._lease_table.put_back(left)
