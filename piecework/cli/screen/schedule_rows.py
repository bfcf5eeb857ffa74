"""Schedules and their ticks as rows and fields for people."""

import shlex
from collections.abc import Mapping

from msgspec import UNSET, UnsetType

from piecework.cli.screen.figures import format_age, format_moment
from piecework.cli.screen.job_rows import describe_backoff, list_ok_codes
from piecework.cli.screen.tables import Brief
from piecework.protocol.messages import Backoff, JobSpec, Maybe, ScheduleInfo, ScheduleTick, blob_id, given
from piecework.text.durations import format_duration

COLUMNS = ("name", "ticks", "lambda", "next", "last", "last job", "state", "trouble")
TICK_COLUMNS = ("tick", "outcome", "job", "state", "detail")
LOCAL_CHARS = 19
"""Of a moment, without parts of seconds and offset."""


def schedule_row(info: ScheduleInfo, now: float) -> tuple[object, ...]:
    """Return the cells under COLUMNS."""
    return (
        info.name,
        describe_timing(info),
        info.lambda_,
        describe_next(info, now),
        format_age(info.last_at, now),
        info.last_job,
        info.last_state,
        info.error,
    )


def tick_row(tick: ScheduleTick) -> tuple[object, ...]:
    """Return the cells under TICK_COLUMNS."""
    outcome = "run by hand" if tick.by_hand else tick.outcome
    return (brief_moment(tick.at), outcome, tick.job, tick.state, tick.detail)


def describe_timing(info: ScheduleInfo) -> str:
    """Say when a schedule ticks."""
    if isinstance(info.every_s, UnsetType):
        return f"{info.cron} {info.timezone}"
    return f"every {format_duration(info.every_s)}"


def describe_next(info: ScheduleInfo, now: float) -> str:
    """Say when a schedule ticks next."""
    if not isinstance(info.paused_at, UnsetType):
        return "paused"
    return format_age(info.next_at, now) or "never"


def describe_schedule(info: ScheduleInfo, now: float) -> dict[str, object]:
    """Return all that is known of a schedule, by the words that stand before it."""
    job = info.job if isinstance(info.job, JobSpec) else JobSpec()
    return {
        "name": info.name,
        "id": info.id,
        "ticks": describe_timing(info),
        "next": describe_next(info, now),
        "upcoming": ", ".join(format_moment(at)[:LOCAL_CHARS] for at in info.upcoming or ()),
        "last": format_age(info.last_at, now),
        "last job": info.last_job,
        "state": info.last_state,
        "trouble": info.error,
        "catch-up": info.catch_up,
        "overlap": info.overlap,
        "jitter": _duration(info.jitter_s),
        "expires": _duration(info.expires_s),
        "lambda": info.lambda_,
        **_describe_job(job),
        "created": format_age(info.created_at, now),
        "changed": format_age(info.changed_at, now),
        "paused": format_age(info.paused_at, now),
        "created by": info.submitter,
    }


def _describe_job(job: JobSpec) -> dict[str, object]:
    limits = {
        name.rpartition("_")[0] or name: getattr(job.limits, name)
        for name in ("memory_bytes", "fuel", "output_bytes", "log_bytes")
        if getattr(job.limits, name) is not None
    }
    timeout_s = given(job.timeout_s) or job.limits.timeout_s
    return {
        "input": None if isinstance(job.input, UnsetType) else blob_id(job.input),
        "args": shlex.join(job.args) if job.args else None,
        "env": _join(job.env),
        "timeout": None if timeout_s is None else format_duration(timeout_s),
        "limits": _join(limits),
        "tags": job.tags,
        "priority": job.priority or None,
        "delay": _duration(given(job.delay_s) or UNSET),
        "attempts": given(job.max_attempts),
        "backoff": None if job.backoff == Backoff() else describe_backoff(job.backoff),
        "retried on": given(job.retry_on),
        "exit codes of success": list_ok_codes(given(job.ok_codes)),
        "on end": given(job.on_end),
    }


def _join(values: Mapping[str, object] | None) -> list[str] | None:
    return [f"{name}={value}" for name, value in values.items()] if values else None


def _duration(seconds: Maybe[float]) -> str:
    return "" if isinstance(seconds, UnsetType) else format_duration(seconds)


def brief_moment(at: float) -> Brief:
    """Return a moment, and a shorter form of it for narrow terminals."""
    moment = format_moment(at)
    return Brief(moment, moment[:LOCAL_CHARS])
