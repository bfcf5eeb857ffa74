"""The client's calls about workers: those that an agent makes, and those of its operator."""

from collections.abc import AsyncIterator

from piecework.client.calls import AnyId, CallGroup, path_id
from piecework.client.modes import call, iteration
from piecework.client.transport import PreparedRequest
from piecework.protocol.messages import (
    CallsHandIn,
    CallsTaken,
    ContractReply,
    ContractRequest,
    FinishReply,
    FinishRequest,
    FunctionOrders,
    FunctionReport,
    HeartbeatReply,
    HeartbeatRequest,
    OwnerInfo,
    OwnerList,
    WorkerInfo,
    WorkerLeave,
    WorkerList,
    WorkerRegister,
    WorkerRegistered,
)


class AgentCalls(CallGroup):
    """What a worker asks for. An unknown or retired worker gets NotFound (codes 801, 802): register again."""

    @call
    async def register(self, worker: WorkerRegister) -> WorkerRegistered:
        """Register a worker. Not repeated here: a lost answer leaves a worker that is never seen again."""
        return await self.carrier.call(PreparedRequest("POST", "/worker", body=worker), WorkerRegistered)

    @call
    async def contract(self, worker_id: AnyId, contract: ContractRequest) -> ContractReply:
        """Hand in outcomes and ask for jobs; waits up to ``contract.timeout`` seconds for one.

        Never repeated here: the caller's loop asks again, with the same outcomes when the answer was lost.
        """
        path = f"/worker/{path_id(worker_id)}/contract"
        request = PreparedRequest("POST", path, body=contract, poll_s=contract.timeout or 0)
        return await self.carrier.call(request, ContractReply)

    @call
    async def heartbeat(self, worker_id: AnyId, heartbeat: HeartbeatRequest) -> HeartbeatReply:
        """Renew leases. Safe to repeat."""
        path = f"/worker/{path_id(worker_id)}/heartbeat"
        return await self.carrier.call(
            PreparedRequest("POST", path, body=heartbeat, repeatable=True), HeartbeatReply
        )

    @call
    async def finish(self, worker_id: AnyId, finish: FinishRequest) -> FinishReply:
        """Hand in outcomes; ``acks`` tells for each whether it counts.

        Does not raise when every outcome was refused (HTTP 409). Safe to repeat: (job, lease) decides.
        """
        path = f"/worker/{path_id(worker_id)}/finish"
        request = PreparedRequest("POST", path, body=finish, repeatable=True)
        return await self.carrier.call(request, FinishReply, also=(409,))

    @call
    async def leave(self, worker_id: AnyId, leave: WorkerLeave) -> str:
        """Say that the worker's process ends. Never repeated here: who ends does not wait.

        Returns what the server says.
        """
        return await self._steer(PreparedRequest("POST", f"/worker/{path_id(worker_id)}/leave", body=leave))

    @call
    async def report_functions(self, worker_id: AnyId, report: FunctionReport) -> FunctionOrders:
        """Say how the worker's replicas do, and learn which ones it is to run.

        Never repeated here: the caller's loop reports again, with what is true by then.
        """
        path = f"/worker/{path_id(worker_id)}/functions"
        return await self.carrier.call(PreparedRequest("POST", path, body=report), FunctionOrders)

    @call
    async def hand_in_calls(self, worker_id: AnyId, calls: CallsHandIn) -> CallsTaken:
        """Hand in calls that the worker's replicas recorded. Safe to repeat."""
        path = f"/worker/{path_id(worker_id)}/calls"
        return await self.carrier.call(PreparedRequest("POST", path, body=calls, repeatable=True), CallsTaken)


class WorkerCalls(AgentCalls):
    """Workers, as an operator sees them."""

    @iteration
    def workers(self, *, everyone: bool = False) -> AsyncIterator[WorkerInfo]:
        """Go through the workers in service, heard of within a day; or ``everyone`` who ever registered."""
        return self._items("/worker", {"all": "true" if everyone else None}, WorkerList, "workers", None)

    @call
    async def owners(self) -> list[OwnerInfo]:
        """Return how the workers of each owner did, as far as others ran the same jobs."""
        return (await self.carrier.call(PreparedRequest("GET", "/owner", repeatable=True), OwnerList)).owners

    @call
    async def worker(self, worker_id: AnyId) -> WorkerInfo:
        """Return a worker with everything known about it. Raises NotFound."""
        request = PreparedRequest("GET", f"/worker/{path_id(worker_id)}", {"view": "full"}, repeatable=True)
        return await self.carrier.call(request, WorkerInfo)

    @call
    async def drain_worker(self, worker_id: AnyId) -> str:
        """Tell a worker to take no more jobs and to finish those it has. Returns what the server says."""
        return await self._steer(PreparedRequest("POST", f"/worker/{path_id(worker_id)}/drain", repeatable=True))

    @call
    async def retire_worker(self, worker_id: AnyId) -> str:
        """Remove a worker; its leases end. An agent that still runs registers again.

        Returns what the server says.
        """
        return await self._steer(PreparedRequest("DELETE", f"/worker/{path_id(worker_id)}", repeatable=True))
