"""What the loop needs from a control server, and from the executor. Tests put their own in place."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from piecework.protocol.ids import Id
from piecework.protocol.messages import (
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
from worker_agent.tasks import LogUpdate, Result, Task


class ControlServer(Protocol):
    """A control server. Every method may raise ``piecework.client.ClientError`` and repeats nothing."""

    def register(self, worker: WorkerRegister) -> WorkerRegistered: ...

    def contract(self, worker_id: Id, contract: ContractRequest) -> ContractReply: ...

    def heartbeat(self, worker_id: Id, heartbeat: HeartbeatRequest) -> HeartbeatReply: ...

    def finish(self, worker_id: Id, finish: FinishRequest) -> FinishReply: ...

    def report_functions(self, worker_id: Id, report: FunctionReport) -> FunctionOrders: ...

    def leave(self, worker_id: Id, leave: WorkerLeave) -> str: ...

    def upload(self, source: bytes | Path) -> DataReply: ...

    def download(self, blob_id: Id, path: Path, *, checksum: str | None = None) -> int: ...


class GuestExecutor(Protocol):
    """Runs tasks; tells ``on_done`` once of each submitted task that it was not told to give back."""

    def start(self) -> None: ...

    def submit(self, *tasks: Task) -> None: ...

    def cancel(self, job: int, lease: str) -> bool:
        """Stop a task; False when there is none under this lease."""

    def take_back(self) -> list[Task]:
        """Return all tasks that were not started; they are not run any more."""

    def read_logs(self) -> list[LogUpdate]: ...

    def stop(self, timeout_s: float) -> None: ...

    @property
    def busy(self) -> int:
        """Tasks that run."""

    @property
    def waiting(self) -> int:
        """Tasks that were not started."""


class FunctionHost(Protocol):
    """Serves functions beside the jobs."""

    def start(self) -> None:
        """Start all that was deployed on this node. Raises AgentError when its port cannot be had."""

    def withdraw(self) -> None:
        """Have nobody call functions here any more, and those that run end."""

    def stop(self) -> None:
        """Wait for their end."""


Ended = Sequence[tuple[Task, Result]]
"""Tasks that are done, and what they produced."""
ExecutorMaker = Callable[[Callable[[Ended], None]], GuestExecutor]
"""Makes the executor, given what it calls when tasks are done."""
