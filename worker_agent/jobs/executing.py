"""What the loop needs from an executor. Tests put their own in place."""

from collections.abc import Callable, Sequence
from typing import Protocol

from piecework.worker_agent.tasks import LeasedTask, LogUpdate, Result


class GuestExecutor(Protocol):
    """Runs tasks; tells ``on_done`` once of each submitted task that it was not told to give back."""

    def start(self) -> None: ...

    def submit(self, *tasks: LeasedTask) -> None: ...

    def cancel(self, job: int, lease: str) -> bool:
        """Stop a task; False when there is none under this lease."""

    def take_back(self) -> list[LeasedTask]:
        """Return all tasks that were not started; they are not run any more."""

    def read_logs(self) -> list[LogUpdate]: ...

    def stop(self, timeout_s: float) -> None: ...

    @property
    def busy(self) -> int:
        """Tasks that run."""

    @property
    def waiting(self) -> int:
        """Tasks that were not started."""


Ended = Sequence[tuple[LeasedTask, Result]]
"""Tasks that are done, and what they produced."""
ExecutorMaker = Callable[[Callable[[Ended], None]], GuestExecutor]
"""Makes the executor, given what it calls when tasks are done."""
