"""How jobs ended, as columns of a table."""

from msgspec import UNSET, UnsetType

from piecework.protocol.messages import JobInfo
from piecework.protocol.states import JobState
from piecework.text.durations import format_duration

ENDING_COLUMNS = ("state", "attempts", "took", "reason")


def ending(info: JobInfo, now: float | None = None) -> tuple[object, ...]:
    """Return the cells under ENDING_COLUMNS; with ``now``, seconds since 1970, also when a running job may end."""
    said = "" if now is None else outlook(info, now)
    return (info.state, info.attempt, took(info), said or reason(info))


def took(info: JobInfo) -> str:
    """Say how long the last attempt ran; "" when that is not known."""
    if isinstance(info.started_at, UnsetType) or isinstance(info.finished_at, UnsetType):
        return ""
    return format_duration(max(0.0, info.finished_at - info.started_at))


def outlook(info: JobInfo, now: float) -> str:
    """Say how long a running job may take yet, or by how much it is late; "" when that is not known."""
    if info.state is not JobState.RUNNING or isinstance(info.eta, UnsetType):
        return ""
    left_s = info.eta - now
    if left_s >= 0:
        return f"about {format_duration(left_s)} left"
    late = f"over its usual time by {format_duration(-left_s)}"
    return f"straggler: {late}" if info.straggler is not UNSET and info.straggler else late


def usual(info: JobInfo, now: float) -> str:
    """Say how long a running job usually takes, and what that makes of it; "" when that is not known."""
    said = outlook(info, now)
    return f"{format_duration(info.expected_s)}, {said}" if said and info.expected_s is not UNSET else said


def reason(info: JobInfo) -> str:
    """Say why a job failed last, or why it does not start; "" when there is nothing to say."""
    if info.error and info.state is not JobState.FINISHED:
        return f"{info.error.kind}: {info.error.message}"
    return info.advice or ""
