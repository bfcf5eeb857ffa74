"""The jobs of a schedule: what they are made from, and how one is made for a tick."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from piecework.protocol import bodies
from piecework.protocol.messages import BlobRef, JobSpec, given
from piecework.server.errors import InvalidRequest
from piecework.server.services.queue.submitting.drafts import Draft
from piecework.server.services.queue.submitting.submission import Submission
from piecework.server.store.queue.schedules.schedule_records import Schedule

ONCE = ("key", "run_at", "expires_at", "after")
"""What is true of one job alone."""
MERGED = frozenset({"env", "limits", "backoff"})
"""Fields that have fields, of which a change may name a few."""


def check_recurring(spec: JobSpec) -> None:
    """Raise InvalidRequest when a job cannot be submitted again and again."""
    for name in ONCE:
        if given(getattr(spec, name)) is not None:
            raise InvalidRequest(f"the job of a schedule has no `{name}`, which would be the same at each tick")
    if given(spec.files):
        raise InvalidRequest("the job of a schedule has no `files`: its input can have an archive of them")


def write_spec(spec: JobSpec, input_: BlobRef) -> str:
    """Return what a schedule keeps of its jobs: all of it, with the blob of their input by its id."""
    return bodies.encode(msgspec.structs.replace(spec, input=input_)).decode()


def read_spec(text: str) -> JobSpec:
    """Return what a schedule kept. Raises InvalidRequest when this server cannot read what another wrote."""
    try:
        return bodies.decode(text.encode(), JobSpec)
    except ValueError as error:
        raise InvalidRequest(f"the schedule's job cannot be read: {error}") from error


def merge_spec(text: str, changes: Mapping[str, Any]) -> JobSpec:
    """Return what a schedule kept with some fields changed, which may name a few of the MERGED ones' own.

    Those that are None are as if never given.
    """
    kept: dict[str, Any] = msgspec.json.decode(text)
    for name, value in changes.items():
        kept[name] = _drop_none((kept.get(name) or {}) | value) if name in MERGED and value is not None else value
    return read_spec(msgspec.json.encode(_drop_none(kept)).decode())


def _drop_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def draft_job(submission: Submission, schedule: Schedule, at: int, now: int, jitter_ms: int = 0) -> Draft:
    """Check the job of one tick, which the caller's transaction stores. Raises as ``Submission.prepare`` does."""
    spec = read_spec(schedule.spec_json)
    if jitter_ms:
        spec.run_at = _to_moment(at + jitter_ms)
    if schedule.expires_ms is not None:
        spec.expires_at = _to_moment(at + schedule.expires_ms)
    [draft] = submission.prepare([spec], schedule.submitter, now)
    return draft._replace(job=draft.job._replace(schedule_id=schedule.id))


def _to_moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)
