"""A guest's part of a trace: how long it ran, and why it failed if it did."""

from piecework.protocol.messages import Usage
from piecework.tracing import Tracer


def tell_guest(tracer: Tracer, parent: str, usage: Usage, failure: str, now_s: float) -> None:
    """Tell of a guest that ended now, seconds since 1970; nothing of one that did not run."""
    if usage.wall_s is not None:
        span = tracer.begin("guest", parent, at_s=now_s - usage.wall_s)
        span.end({"piecework.memory_bytes": usage.memory_bytes or 0}, failure=failure, at_s=now_s)
