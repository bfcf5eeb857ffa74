"""How a server stands: what is well, and what is not."""

from typing import Literal

import msgspec
from msgspec import UNSET

from piecework.protocol.messages.base import Maybe, Reply, Shown
from piecework.protocol.messages.queue.stats import StatsFigures

FindingLevel = Literal["ok", "notice", "wrong"]
"""``wrong``: somebody should do something. ``notice``: good to know, and it may be meant so."""


class Finding(Shown, msgspec.Struct, kw_only=True):
    """What a check found."""

    check: str
    """What was looked at, such as ``disk``."""
    level: FindingLevel
    """Whether it is well."""
    text: str
    """What was found, for people."""
    advice: Maybe[str] = UNSET
    """What to do."""


class LaneBrief(Shown, msgspec.Struct, kw_only=True):
    """Enqueued and running jobs that are for the same workers."""

    runtime: str
    """The runtime that they need."""
    tags: list[str]
    """What their worker must have (``+``), or must not (``-``)."""
    tenant: Maybe[str] = UNSET
    """Whose they are."""
    enqueued: int
    """Jobs that can be contracted now."""
    counted_at: Maybe[float] = UNSET
    """When ``waiting`` and ``enqueued`` were counted, seconds since 1970; absent: just now. One of 50,000 jobs
    and more is counted now and then: of a million every 20 seconds."""
    running: int
    """Jobs under a lease."""
    oldest_at: Maybe[float] = UNSET
    """When the oldest that is enqueued was submitted, seconds since 1970."""
    waits: Maybe[str] = UNSET
    """Why it is not given to a worker; absent when it will be any moment."""


class StatusReply(Reply, kw_only=True):
    """The answer of ``GET /sys/status``."""

    version: str
    """The server's version."""
    at: float
    """When this was found, seconds since 1970."""
    summary: str
    """One line, for people: all is well, or what is not."""
    is_well: bool
    """Nothing is wrong."""
    findings: list[Finding]
    """What is wrong first, then what is good to know. With ``checks=all`` also what is well."""
    waiting: int
    """Jobs that wait for their time, for others, for room under a limit, or are paused; counted to 1,000,000."""
    enqueued: int
    """Jobs that can be contracted now."""
    counted_at: Maybe[float] = UNSET
    """When ``waiting`` and ``enqueued`` were counted, seconds since 1970; absent: just now. One of 50,000 jobs
    and more is counted now and then: of a million every 20 seconds."""
    running: int
    """Jobs under a lease."""
    stragglers: Maybe[int] = UNSET
    """Those of them that have run far longer than usual, of the 1000 that run longest; found at most ten seconds
    ago."""
    oldest_at: Maybe[float] = UNSET
    """When the oldest enqueued job was submitted, seconds since 1970; absent when there is none."""
    lanes: list[LaneBrief]
    """What is enqueued or runs, the fullest first: 50 lanes at most."""
    workers: dict[str, int]
    """Workers of the last day, by their state."""
    servers: int
    """Servers that share the database."""
    database_bytes: int
    """What the database takes."""
    disk_free_bytes: Maybe[int] = UNSET
    """What is free on the disk of the data directory; absent when that cannot be told."""
    backup_at: Maybe[float] = UNSET
    """When the last backup was written, seconds since 1970; absent when none is known, as on PostgreSQL."""
    hour: StatsFigures
    """What jobs did in the last hour."""
