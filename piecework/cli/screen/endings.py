"""How jobs ended, as columns of a table."""

from msgspec import UnsetType

from piecework.durations import format_duration
from piecework.protocol.messages import JobInfo
from piecework.protocol.states import JobState

ENDING_COLUMNS = ("state", "attempts", "took", "reason")


def ending(info: JobInfo) -> tuple[object, ...]:
    """Return the cells under ENDING_COLUMNS."""
    return (info.state, info.attempt, took(info), reason(info))


def took(info: JobInfo) -> str:
    """Say how long the last attempt ran; "" when that is not known."""
    if isinstance(info.started_at, UnsetType) or isinstance(info.finished_at, UnsetType):
        return ""
    return format_duration(max(0.0, info.finished_at - info.started_at))


def reason(info: JobInfo) -> str:
    """Say why a job failed last, or why it does not start; "" when there is nothing to say."""
    if info.error and info.state is not JobState.FINISHED:
        return f"{info.error.kind}: {info.error.message}"
    return info.advice or ""
