"""How what is known looks in a page: times, sizes, names, and what strangers wrote."""

import re
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from markupsafe import Markup, escape
from msgspec import UNSET, UnsetType

from piecework.cli.screen.endings import outlook, usual
from piecework.cli.screen.figures import format_bytes
from piecework.protocol.messages import Usage
from piecework.protocol.states import JobState
from piecework.terminal.texts import escape_text
from piecework.text.durations import format_duration

STATE_WORDS = {
    JobState.PAUSED: "paused",
    JobState.WAITING: "waiting",
    JobState.ENQUEUED: "enqueued",
    JobState.PRE_ASSIGNED: "assigned",
    JobState.RUNNING: "running",
    JobState.FINISHED: "finished",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}
"""The states as people call them."""
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and movements
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles, links and other strings
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)


def show(value: object) -> object:
    """Return a value as a page shows it: nothing for what is unset, and no character that a browser obeys."""
    if value is None or isinstance(value, UnsetType):
        return ""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return escape_text(str(value))
    return value


def plain_log(text: str) -> str:
    """Return what a guest logged without colours and movements; what else controls is written out."""
    return escape_text(_SEQUENCES.sub("", text).replace("\r\n", "\n"))


def as_typed(text: str) -> Markup:
    """Return a text for a field that is sent back: as it is."""
    return escape(text)


def word(state: object) -> str:
    """Return what people call a state of a job, or any other word of ours."""
    return STATE_WORDS[JobState(str(state))] if state in STATE_WORDS else str(state)


def moment(at: float | UnsetType | None, now: float | None = None) -> Markup:
    """Return how long ago a moment was, or how soon it comes, and beside it the moment. Seconds since 1970."""
    if at is None or isinstance(at, UnsetType):
        return Markup()
    at_utc = datetime.fromtimestamp(at, UTC)
    ago = (time.time() if now is None else now) - at
    said = f"{format_duration(ago)} ago" if ago >= 0 else f"in {format_duration(-ago)}"
    exact = at_utc.isoformat(sep=" ", timespec="milliseconds").replace("+00:00", " UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at_utc.isoformat(), exact, said)


def exact(at: float | UnsetType | None) -> str:
    """Return a moment in UTC to the millisecond."""
    if at is None or isinstance(at, UnsetType):
        return ""
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", " UTC")


def count(number: int, *, is_all: bool = True) -> str:
    """Return a number with separators; with a plus where there may be more."""
    return f"{number:,}{'' if is_all else '+'}"


def used(usage: Usage) -> str:
    """Return what an attempt used, as far as it was measured: a job that was answered with a memo took no time."""
    words = [
        "" if usage.wall_s is None else format_duration(usage.wall_s),
        "" if usage.cpu_s is None else f"{format_duration(usage.cpu_s)} CPU",
        "" if usage.memory_bytes is None else f"{format_bytes(usage.memory_bytes)} memory",
        "" if usage.fuel is None else f"{count(usage.fuel)} fuel",
    ]
    return ", ".join(filter(None, words))


def address(path: str, **query: Any) -> str:
    """Return an address in the console; what is empty is left out."""
    given = {name.rstrip("_"): value for name, value in query.items() if value not in {None, "", UNSET}}
    return f"/console{path}" + (f"?{urlencode(given)}" if given else "")


def jobs_address(path: str, fields: dict[str, str], changes: dict[str, str]) -> str:
    """Return the address of a page about jobs: with these filters, but for some changes."""
    return address(path, **{**fields, **changes})


FILTERS: dict[str, Any] = {
    "moment": moment,
    "exact": exact,
    "bytes": format_bytes,
    "duration": lambda seconds: "" if seconds in {None, UNSET} else format_duration(max(0.0, seconds)),
    "outlook": outlook,
    "usual": usual,
    "used": used,
    "count": count,
    "word": word,
    "part": lambda text: quote(str(text), safe=""),
    "as_typed": as_typed,
    "plain_log": plain_log,
}
