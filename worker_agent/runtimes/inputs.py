"""Inputs that are read as a whole before their guest runs."""

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError, Usage
from piecework.worker_agent.runtimes.base import Call, CallResult


def read_input(call: Call) -> bytes | CallResult:
    """Return the whole input of a call; or its outcome, when it can never fit into the guest's memory."""
    limit = call.bounds.memory_bytes
    try:
        data = call.input.read(limit + 1)
    except OSError as error:
        return refuse_input(f"the input could not be read: {error.strerror}")
    if data is None or len(data) > limit:
        return refuse_input(f"the input is larger than the memory limit of {limit} bytes")
    return data


def refuse_input(message: str) -> CallResult:
    """Return the outcome of a call whose input its guest cannot take."""
    return CallResult(JobError(kind=ErrorKind.INPUT, message=message), Usage())
