"""Tallies: what one transaction did to jobs, in numbers. They become counters, see ``counters``."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from math import sqrt
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from piecework.protocol.messages import ActorKind
from piecework.protocol.states import JobState
from piecework.server.store.engine.connections import notes_of

K = TypeVar("K", int, str)
_DECADE = (10, 16, 25, 40, 63)
BOUNDS_MS = (1, 2, 3, 4, 6, *(step * 10**power for power in range(8) for step in _DECADE), 1_000_000_000)
"""The upper ends of the buckets of times, five for each power of ten; what takes longer than 11 days is beyond."""

COUNTED: Mapping[JobState, str] = {
    JobState.FINISHED: "finished", JobState.FAILED: "failed", JobState.CANCELLED: "cancelled",
}  # fmt: skip


class Tally(msgspec.Struct, array_like=True):
    """What happened to jobs of one lambda within a time."""

    lambda_id: int
    minute: int
    """Since 1970."""
    counts: dict[str, int] = {}
    """How many did what; the words are fields of ``StatsCounts``."""
    waits: dict[int, int] = {}
    """How many waited for so long, by bucket: the index of the first bound that is no shorter."""
    runs: dict[int, int] = {}
    """How many ran for so long."""
    kinds: dict[str, int] = {}
    """How many failed with which kind of error."""
    submitter: tuple[ActorKind, str] | None = None
    """Who submitted those that were: how, and the name of the token."""
    tenants: dict[int, dict[str, int]] = {}
    """How many jobs of a tenant did what, by its number: of those that ended."""

    def add(self, other: "Tally") -> None:
        """Count what another one counted as well."""
        _add(self.counts, other.counts)
        _add(self.waits, other.waits)
        _add(self.runs, other.runs)
        _add(self.kinds, other.kinds)
        for tenant, counts in other.tenants.items():
            _add(self.tenants.setdefault(tenant, {}), counts)


def _add(mine: dict[K, int], theirs: dict[K, int]) -> None:
    for key, count in theirs.items():
        mine[key] = mine.get(key, 0) + count


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Tally]).decode


def sort_times(times_ms: Iterable[int]) -> dict[int, int]:
    """Return how many times are in which bucket; one that a clock set back made negative is in the first."""
    buckets: dict[int, int] = {}
    for each in times_ms:
        bucket = bisect_left(BOUNDS_MS, each)
        buckets[bucket] = buckets.get(bucket, 0) + 1
    return buckets


def middle_s(bucket: int) -> float:
    """Return about how long what is in a bucket took, seconds."""
    upper = BOUNDS_MS[min(bucket, len(BOUNDS_MS) - 1)]
    return sqrt(upper * (BOUNDS_MS[bucket - 1] if bucket else 0.5)) / 1000


def note_tally(connection: Connection, tally: Tally) -> None:
    """Note a tally of the transaction at hand; it is stored with what that puts into the feed."""
    notes_of(connection).append(tally)


def write_tallies(tallies: list[Tally]) -> bytes | None:
    """Return tallies as they stand in the outbox; None when there are none."""
    return _encode(tallies) if tallies else None


def read_tallies(content: bytes | None) -> list[Tally]:
    """Return the tallies of a row of the outbox."""
    return _decode(content) if content else []
