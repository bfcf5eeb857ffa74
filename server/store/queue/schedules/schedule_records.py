"""What the store gives back of schedules: frozen records. Times are milliseconds since 1970."""

from typing import Literal, NamedTuple

from piecework.protocol.messages import CatchUp, Overlap, TickOutcome

TickKind = Literal["time", "hand", "missed"]
"""What made a tick: its ``time``, or somebody by ``hand``. ``missed`` stands for all from this one on that no
server was there for; when the clock turns out to have been wrong, each of them may come after all."""


class Schedule(NamedTuple):
    """Submits a job at each of its ticks."""

    id: int
    name: str
    cron: str | None
    """Five fields, or one of the names that stand for them; None: it ticks in an interval."""
    every_ms: int | None
    timezone: str
    """That the cron line is read in."""
    anchor_at: int
    """The interval is counted from here."""
    catch_up: CatchUp
    overlap: Overlap
    jitter_ms: int
    """Jobs become due by chance within that time after their ticks."""
    expires_ms: int | None
    """Jobs that did not start within that time after their ticks are cancelled."""
    spec_json: str
    """The JobSpec of its jobs."""
    input_id: int
    submitter: str | None
    """The name of the token that it was created with, and that its jobs are submitted with."""
    created_at: int
    changed_at: int
    version: int
    """One more with each change by a person."""
    paused_at: int | None
    next_at: int | None
    """When it ticks next; None: it is paused, or never ticks again."""
    last_at: int | None = None
    """When it last submitted a job."""
    last_job_id: int | None = None
    error: str | None = None
    """Why its last tick submitted none though it should have."""


class Tick(NamedTuple):
    """A time at which a schedule was due, and what came of it."""

    schedule_id: int
    at: int
    """When it was due."""
    kind: TickKind
    noted_at: int
    outcome: TickOutcome
    job_id: int | None = None
    detail: str = ""
