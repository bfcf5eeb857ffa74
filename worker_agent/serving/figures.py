"""How a function does: calls, errors and times, as numbers for programs and as text for Prometheus."""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping
from math import ceil

import msgspec

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
RECENT = 1000
"""Of so many calls the percentiles are told."""
PREFIX = "piecework_function"


class Figures:
    """Counts the calls of one function."""

    def __init__(self) -> None:
        self._statuses: Counter[int] = Counter()
        self._recent_s: deque[float] = deque(maxlen=RECENT)
        self._buckets = [0] * (len(BUCKETS_S) + 1)
        self._sum_s = 0.0

    def note(self, status: int, duration_s: float) -> None:
        """Count one call."""
        self._statuses[status] += 1
        self._recent_s.append(duration_s)
        self._buckets[bisect_left(BUCKETS_S, duration_s)] += 1
        self._sum_s += duration_s

    @property
    def calls(self) -> int:
        return self._statuses.total()

    @property
    def errors(self) -> int:
        """Calls that were answered with a status from 500 on."""
        return sum(times for status, times in self._statuses.items() if status >= 500)

    def write_json(self, unrecorded: Mapping[str, int] | None = None) -> bytes:
        """Return calls, errors and the percentiles of the last 1,000 calls, ms; null without any.

        ``unrecorded``: calls that were not recorded although some are, by the reason.
        """
        ordered = sorted(self._recent_s)
        p50, p99 = (
            round(ordered[ceil(part * len(ordered)) - 1] * 1000, 3) if ordered else None for part in (0.5, 0.99)
        )
        told = {"calls": self.calls, "errors": self.errors, "p50_ms": p50, "p99_ms": p99}
        return msgspec.json.encode(told if unrecorded is None else told | {"unrecorded": unrecorded})

    def write_metrics(self) -> bytes:
        """Return all as text in the format of Prometheus."""
        lines = [f"# HELP {PREFIX}_calls_total Calls by status.", f"# TYPE {PREFIX}_calls_total counter"]
        lines += [f'{PREFIX}_calls_total{{status="{status}"}} {n}' for status, n in sorted(self._statuses.items())]
        lines += [
            f"# HELP {PREFIX}_errors_total Calls answered with a status from 500 on.",
            f"# TYPE {PREFIX}_errors_total counter",
            f"{PREFIX}_errors_total {self.errors}",
            f"# HELP {PREFIX}_seconds How long calls took.",
            f"# TYPE {PREFIX}_seconds histogram",
        ]
        total = 0
        for edge, times in zip((*BUCKETS_S, "+Inf"), self._buckets, strict=True):
            total += times
            lines.append(f'{PREFIX}_seconds_bucket{{le="{edge}"}} {total}')
        lines += [f"{PREFIX}_seconds_sum {self._sum_s:.6f}", f"{PREFIX}_seconds_count {total}", ""]
        return "\n".join(lines).encode()
