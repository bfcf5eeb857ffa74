"""How long something stays once it has ended: seconds, or ``never`` for what is never removed."""

from typing import Annotated, Literal

from msgspec import Meta

RETAIN_MAX_S = 10 * 366 * 86_400
Retain = Annotated[float, Meta(ge=0, le=RETAIN_MAX_S)] | Literal["never"]
"""Seconds, at most ten years; 0: until it was read. ``never`` is removed."""
FOR_EVER_MS = -1


def retain_ms(retain: Retain) -> int:
    """Return it in milliseconds, at least 1 of what is not 0; FOR_EVER_MS for ``never``."""
    if retain == "never":
        return FOR_EVER_MS
    return max(round(retain * 1000), retain > 0)


def retain_s(ms: int) -> Retain:
    """Undo ``retain_ms``."""
    return "never" if ms == FOR_EVER_MS else ms / 1000
