"""Times, durations and sizes as people read them."""

from datetime import datetime

from msgspec import UNSET, UnsetType

from piecework.protocol.messages import StatusReply
from piecework.text.durations import format_duration

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def format_age(at: float | UnsetType, now: float) -> str:
    """Say how long ago a moment was, or how soon it comes; "" when it is unset. Seconds since 1970."""
    if isinstance(at, UnsetType):
        return ""
    ago = now - at
    return f"{format_duration(ago)} ago" if ago >= 0 else f"in {format_duration(-ago)}"


def tell_count(found: StatusReply) -> str:
    """Say how old the count of a long queue is; "" for one that was counted just now."""
    at = format_age(found.counted_at, found.at)
    return f" (ready and waiting: counted {at})" if at else ""


def format_stay(retain_s: float | str | UnsetType) -> str:
    """Say how long something stays; "" when it did not say."""
    if isinstance(retain_s, UnsetType):
        return ""
    return (
        f"{retain_s} removed"
        if isinstance(retain_s, str)
        else format_duration(retain_s)
        if retain_s
        else "until read"
    )


def describe_limit(
    key: str | UnsetType, limit: int | UnsetType | None, period_s: float | UnsetType = UNSET
) -> str:
    """Say which limit a key has; "" when there is no key."""
    if isinstance(key, UnsetType):
        return ""
    if isinstance(limit, UnsetType) or limit is None:
        return key
    return (
        f"{key}: {limit}" if isinstance(period_s, UnsetType) else f"{key}: {limit} in {format_duration(period_s)}"
    )


def format_ms(milliseconds: float | UnsetType | None) -> str:
    """Return a latency, to three digits: ``0.83 ms``, ``12.5 ms``, ``1.2 s``; "" when it is not known."""
    if milliseconds is None or isinstance(milliseconds, UnsetType):
        return ""
    return f"{milliseconds:.3g} ms" if milliseconds < 999.5 else format_duration(milliseconds / 1000)


def format_moment(at: float | UnsetType) -> str:
    """Return a moment as local date and time to the millisecond; "" when it is unset."""
    if isinstance(at, UnsetType):
        return ""
    return datetime.fromtimestamp(at).astimezone().isoformat(sep=" ", timespec="milliseconds")


def format_bytes(size: float | UnsetType | None) -> str:
    """Return a size with a decimal unit: ``512 bytes``, ``1.5 MB``; "" when it is not known."""
    if size is None or isinstance(size, UnsetType):
        return ""
    unit = 0
    while size >= (999.95 if unit else 1000) and unit < len(_UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"
