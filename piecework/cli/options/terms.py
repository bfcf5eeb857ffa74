"""When a job runs and how it is tried again, as the command line says it."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import rich_click as click
from click.shell_completion import CompletionItem

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Backoff
from piecework.text.durations import parse_duration

RETRIED = [kind.value for kind in ErrorKind if kind not in {ErrorKind.LOAD, ErrorKind.PARENT}]
"""Kinds of failure that another attempt may help against."""


class MomentType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """A date and time in ISO 8601, in local time unless it has a zone; where it says so, a duration from now."""

    name = "time"

    def __init__(self, *, relative: bool) -> None:
        self.relative = relative

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return datetime.fromisoformat(value.strip()).astimezone()
        except (ValueError, OverflowError, OSError):
            if (after_s := _find_duration(value)) is None:
                example = datetime.now().astimezone().isoformat(timespec="minutes")
                also = ", or a duration from now, such as 2h" if self.relative else ""
                self.fail(f"{value!r} is no date and time, such as {example}{also}.", param, ctx)
        if not self.relative:
            self.fail(f"{value!r} is a duration: give it with --delay.", param, ctx)
        return datetime.now(UTC).astimezone() + timedelta(seconds=after_s)


class BackoffType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """``exponential[:FIRST[:LONGEST]]``, ``fixed:PAUSE`` or ``none``."""

    name = "backoff"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Backoff:
        if isinstance(value, Backoff):
            return value
        try:
            return _read_backoff(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del ctx, param
        return _complete(incomplete, ("exponential", "fixed:10s", "none"))


class KindsType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """Kinds of failure, with commas between them."""

    name = "kind,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[ErrorKind]:
        if isinstance(value, list):
            return value
        names = [name.strip().lower() for name in value.split(",")]
        for name in names:
            if name not in RETRIED:
                why = "is never worth another attempt" if name == ErrorKind.LOAD else "is no kind of failure"
                self.fail(f"{name!r} {why}: choose of {', '.join(RETRIED)}.", param, ctx)
        return [ErrorKind(name) for name in names]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del ctx, param
        before, comma, last = incomplete.rpartition(",")
        chosen = before.split(",")
        return _complete(last, (kind for kind in RETRIED if kind not in chosen), before + comma)


Rate = tuple[int, float]
"""How many, and in how many seconds."""


class RateType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """``N/DURATION``, such as ``100/1m``; ``N`` is per second."""

    name = "n/duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Rate:
        if isinstance(value, tuple):
            return value
        count, slash, period = value.partition("/")
        try:
            unit = period.strip()
            rate = int(count), parse_duration(unit if unit[:1].isdigit() else f"1{unit}") if slash else 1.0
        except ValueError:
            self.fail(f"{value!r} is not N/DURATION, such as 100/1m or 5/s.", param, ctx)
        if rate[0] < 0 or not rate[1] or (slash and not unit):
            self.fail(f"{value!r} has a number below 0, or no time.", param, ctx)
        return rate


def _find_duration(text: str) -> float | None:
    try:
        return parse_duration(text)
    except ValueError:
        return None


def _read_backoff(text: str) -> Backoff:
    """Read how long to wait between attempts. Raises ValueError."""
    kind, *times = text.strip().lower().split(":")
    most = {"exponential": 2, "fixed": 1, "none": 0}.get(kind)
    if most is None or len(times) > most:
        raise ValueError(f"{text!r} is not exponential[:FIRST[:LONGEST]], fixed:PAUSE or none")
    seconds = [parse_duration(time) for time in times]
    base_s = seconds[0] if seconds else Backoff().base_s
    cap_s = seconds[1] if len(seconds) > 1 else max(base_s, Backoff().cap_s)
    if base_s > cap_s:
        raise ValueError(f"in {text!r} the first pause is longer than the longest")
    return Backoff(kind=kind, base_s=base_s, cap_s=cap_s)  # type: ignore[arg-type]  # one of those above


def _complete(incomplete: str, choices: Iterable[str], before: str = "") -> list[CompletionItem]:
    return [CompletionItem(before + each) for each in choices if each.startswith(incomplete.lower())]


MOMENT = MomentType(relative=False)
MOMENT_OR_DURATION = MomentType(relative=True)
BACKOFF = BackoffType()
KINDS = KindsType()
RATE = RateType()
