"""Durations as people write them: ``90`` (seconds), ``500ms``, ``5m``, ``1h30m``, ``2d``."""

import math
import re
from typing import Any

import click
from click.shell_completion import CompletionItem

from piecework.protocol.retention import Retain

LONGEST_S = 10 * 366 * 86_400.0
"""Ten years, which is the most that the protocol takes."""
RULE = "write seconds, or with units such as 500ms, 90s, 5m, 1h30m or 2d"
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_UNITS = {"d": 86_400.0, "h": 3600.0, "m(?:in)?": 60.0, "s": 1.0, "ms": 0.001}
_PATTERN = re.compile("".join(rf"(?:{_NUMBER}\s*{unit}\s*)?" for unit in _UNITS), re.IGNORECASE)
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


def parse_duration(text: str) -> float:
    """Return a duration in seconds. Raises ValueError that says what is wrong with the text."""
    plain = text.strip()
    try:
        seconds = float(plain)
    except ValueError:
        found = _PATTERN.fullmatch(plain) if plain else None
        if found is None:
            raise ValueError(f"{text[:40]!r} is no duration: {RULE}") from None
        seconds = sum(
            float(part) * size for part, size in zip(found.groups(), _UNITS.values(), strict=True) if part
        )
    if not math.isfinite(seconds) or not 0 <= seconds <= LONGEST_S:
        raise ValueError(f"{text[:40]!r} is no duration between 0 and ten years: {RULE}")
    return seconds


def parse_retention(text: str) -> Retain:
    """Return how long something stays: a duration in seconds, or ``never`` removed. Raises ValueError."""
    if text.strip().lower() == "never":
        return "never"
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{error}, or never") from None


def format_duration(seconds: float) -> str:
    """Say how long something takes, in its largest fitting unit: ``12 ms``, ``3.2 s``, ``5 min``, ``2 h``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    for unit, size in (("d", DAY_S), ("h", HOUR_S), ("min", MINUTE_S)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


class DurationType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """A duration in seconds, as ``parse_duration`` reads it; 0 only where that means something."""

    name = "duration"

    def __init__(self, *, zero: bool = False) -> None:
        self.zero = zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = parse_duration(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        if not seconds and not self.zero:
            self.fail("it must be longer than 0.", param, ctx)
        return seconds


DURATION = DurationType()
DURATION_OR_ZERO = DurationType(zero=True)


class RetentionType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """A duration in seconds, or ``never``, as ``parse_retention`` reads it."""

    name = "duration|never"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Retain:
        try:
            return parse_retention(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del ctx, param
        return [CompletionItem(each) for each in ("never", "0", "1h", "7d", "30d") if each.startswith(incomplete)]


RETENTION = RetentionType()
