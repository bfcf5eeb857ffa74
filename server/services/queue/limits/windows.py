"""When jobs of a key with a rate started, so that never more than its limit start within one period.

This holds for every stretch of time as long as the period, not for minutes of the clock alone. Each start is kept
until it is a period ago. Of many, those that were close to each other are kept as one, with the time of the last:
then the next may start up to a 64th of a period later than they might, and never earlier.
"""

import msgspec

PARTS = 64
"""Starts that are kept one by one; and into how many parts of a period further ones are gathered."""

Part = tuple[int, int, int]
"""The first and the last time of some starts, in milliseconds since 1970, and how many they were."""


class Window:
    """The starts of the last period."""

    def __init__(self, text: str | None, period_ms: int, now: int) -> None:
        """Times after ``now`` are from before a clock was set back: they count as now."""
        kept = msgspec.json.decode(text, type=list[Part]) if text else []
        clamped = [(min(first, now), min(last, now), count) for first, last, count in kept]
        self._parts = [part for part in clamped if part[1] > now - period_ms]
        self._period_ms = period_ms

    @property
    def count(self) -> int:
        """How many starts there were."""
        return sum(count for _, _, count in self._parts)

    @property
    def changes_at(self) -> int | None:
        """When the oldest start is a period ago; None when there was none."""
        return self._parts[0][1] + self._period_ms if self._parts else None

    def add(self, count: int, now: int) -> None:
        """Note that so many jobs start now."""
        if len(self._parts) >= PARTS and now - self._parts[-1][0] < self._period_ms / PARTS:
            first, _, before = self._parts.pop()
            self._parts.append((first, now, before + count))
        else:
            self._parts.append((now, now, count))

    def text(self) -> str | None:
        """Return what to store."""
        return msgspec.json.encode(self._parts).decode() if self._parts else None
