"""Which jobs are meant, as people and requests write it: states, kinds of failure, times."""

from datetime import UTC, datetime

from piecework.protocol.codes import ErrorKind
from piecework.protocol.states import JobState, parse_state
from piecework.text.durations import parse_duration


def read_states(text: str) -> tuple[JobState, ...]:
    """Read states with commas between them. Raises ValueError that names the states there are."""
    return tuple(dict.fromkeys(parse_state(each) for each in text.split(",")))


def read_kinds(text: str) -> tuple[ErrorKind, ...]:
    """Read kinds of failure with commas between them. Raises ValueError that names the kinds there are."""
    names = [each.strip().lower() for each in text.split(",")]
    known = {kind.value for kind in ErrorKind}
    for name in names:
        if name not in known:
            raise ValueError(f"{name[:40]!r} is no kind of failure; the kinds are {', '.join(ErrorKind)}")
    return tuple(dict.fromkeys(map(ErrorKind, names)))


def read_time(text: str, now_ms: int) -> int:
    """Read a moment (RFC 3339; UTC without a zone), or how long ago it was. Returns milliseconds since 1970.

    Raises ValueError.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            return now_ms - round(parse_duration(text) * 1000)
        except ValueError:
            raise ValueError(
                f"{text[:40]!r} is neither a time, such as 2026-11-30T08:00Z, nor a duration, such as 1h30m"
            ) from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
