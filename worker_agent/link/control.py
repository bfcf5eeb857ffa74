"""What an agent needs from a control server. Tests put their own in place."""

from pathlib import Path
from typing import Protocol

from piecework.client.uploads import Source
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    CallsHandIn,
    CallsTaken,
    ContractReply,
    ContractRequest,
    DataReply,
    FinishReply,
    FinishRequest,
    FunctionOrders,
    FunctionReport,
    HeartbeatReply,
    HeartbeatRequest,
    WorkerLeave,
    WorkerRegister,
    WorkerRegistered,
)


class ControlServer(Protocol):
    """A control server. Every method may raise ``piecework.client.ClientError`` and repeats nothing."""

    def register(self, worker: WorkerRegister) -> WorkerRegistered: ...

    def contract(self, worker_id: Id, contract: ContractRequest) -> ContractReply: ...

    def heartbeat(self, worker_id: Id, heartbeat: HeartbeatRequest) -> HeartbeatReply: ...

    def finish(self, worker_id: Id, finish: FinishRequest) -> FinishReply: ...

    def report_functions(self, worker_id: Id, report: FunctionReport) -> FunctionOrders: ...

    def hand_in_calls(self, worker_id: Id, calls: CallsHandIn) -> CallsTaken: ...

    def leave(self, worker_id: Id, leave: WorkerLeave) -> str: ...

    def upload(self, source: Source) -> DataReply: ...

    def download(self, blob_id: Id, path: Path, *, checksum: str | None = None) -> int: ...
