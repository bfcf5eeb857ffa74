"""What can go wrong around a job: the disk, the network, the agent's own processes.

These are the environment's failures: another try, later or on another worker, may work. A failure of the guest
is never one of them; it is data, the ``error`` of a ``Result``.
"""


class AgentError(Exception):
    """The agent could not do what it was asked to."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class BrokenBlobError(AgentError):
    """The blob's bytes are not those that its checksum announces."""


class CacheError(AgentError):
    """The agent's cache cannot be read or written."""


class ExecutorStoppedError(AgentError):
    """The executor was stopped and takes no more tasks."""


class InterpreterError(AgentError):
    """An interpreter of scripts is not described well, or cannot be installed."""
