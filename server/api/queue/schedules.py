"""Schedules: ``/schedule``."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from piecework.protocol import bodies
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    JobCreated,
    JobSpec,
    Maybe,
    MessageReply,
    ScheduleCreate,
    ScheduleInfo,
    ScheduleList,
    ScheduleRun,
    ScheduleTick,
    ScheduleUpdate,
    TickList,
    given,
)
from piecework.protocol.secrets import mask_secrets
from piecework.protocol.states import JobState
from piecework.server.dialects.unknown import read_strictly
from piecework.server.services import Services
from piecework.server.services.queue.schedules.recurring import MERGED
from piecework.server.services.queue.schedules.schedules import ScheduleView
from piecework.server.store.queue.schedules.schedule_records import Schedule, Tick
from piecework.server.web.endpoint import endpoint
from piecework.server.web.paging import PageQuery, next_cursor

T = TypeVar("T")


@endpoint("POST", "/schedule", scope="submit", body=ScheduleCreate, reply=ScheduleInfo, caller=True)
def create(services: Services, body: ScheduleCreate, caller: str | None) -> ScheduleInfo:
    """Create a schedule: a job that is submitted again and again, by a cron line or in an interval."""
    return _full_info(services, services.schedules.create(body, caller))


@endpoint("GET", "/schedule", scope="view", query=PageQuery, reply=ScheduleList)
def list_all(services: Services, query: PageQuery) -> ScheduleList:
    """List schedules, newest first."""
    page, more = query.read(services.schedules.list_page, services.settings.page_max)
    infos = list(map(_info, services.schedules.show(page)))
    return ScheduleList(schedules=infos, next=next_cursor([each.id for each in page], more))


@endpoint("GET", "/schedule/<ref:schedule>", scope="view", reply=ScheduleInfo)
def show(services: Services, ref: str) -> ScheduleInfo:
    """Read one schedule, with its job and the times at which it ticks next."""
    return _full_info(services, services.schedules.get(ref))


@endpoint("PATCH", "/schedule/<ref:schedule>", scope="submit", body=ScheduleUpdate, reply=ScheduleInfo)
def change(services: Services, ref: str, body: ScheduleUpdate) -> ScheduleInfo:
    """Change a schedule, or what it submits."""
    return _full_info(services, services.schedules.change(ref, body, _read_job(given(body.job) or {})))


@endpoint("DELETE", "/schedule/<ref:schedule>", scope="submit", reply=MessageReply)
def remove(services: Services, ref: str) -> MessageReply:
    """Remove a schedule. Jobs that it submitted stay as they are."""
    return MessageReply(message=f"schedule {services.schedules.remove(ref).name} is removed")


@endpoint("POST", "/schedule/<ref:schedule>/pause", scope="submit", reply=ScheduleInfo)
def pause(services: Services, ref: str) -> ScheduleInfo:
    """Keep a schedule from ticking until it is resumed."""
    return _full_info(services, services.schedules.pause(ref))


@endpoint("POST", "/schedule/<ref:schedule>/resume", scope="submit", reply=ScheduleInfo)
def resume(services: Services, ref: str) -> ScheduleInfo:
    """Let a schedule tick again. Ticks of the time in which it was paused are not made up for."""
    return _full_info(services, services.schedules.resume(ref))


@endpoint("POST", "/schedule/<ref:schedule>/run", scope="submit", body=ScheduleRun, reply=JobCreated)
def run(services: Services, ref: str, body: ScheduleRun) -> JobCreated:
    """Submit a schedule's job now, beside its ticks, whatever its earlier jobs do."""
    return JobCreated(id=Id(services.schedules.run(ref, given(body.key))))


@endpoint("GET", "/schedule/<ref:schedule>/ticks", scope="view", query=PageQuery, reply=TickList)
def list_ticks(services: Services, ref: str, query: PageQuery) -> TickList:
    """Tell what came of a schedule's ticks, newest first."""
    id_ = services.schedules.get(ref).id
    page, more = query.read(lambda **at: services.schedules.list_ticks(id_, **at), services.settings.page_max)
    ticks = [_tick(tick, state) for _, tick, state in page]
    return TickList(ticks=ticks, next=next_cursor([number for number, _, _ in page], more))


def _read_job(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes of a job as JSON has them. Raises MessageError for fields that are unknown or do not fit."""
    named = {name: _without_none(name, value) for name, value in changes.items() if value is not None}
    checked = read_strictly(bodies.encode(named, bodies.MSGPACK), JobSpec, bodies.MSGPACK)
    read = msgspec.json.decode(bodies.encode(checked))
    return {name: _with_none(name, value, read.get(name)) for name, value in changes.items()}


def _without_none(name: str, value: Any) -> Any:
    """Leave out what a change takes away: no job has such values."""
    if name not in MERGED or not isinstance(value, dict):
        return value
    return {key: each for key, each in value.items() if each is not None}


def _with_none(name: str, value: Any, read: Any) -> Any:
    """Put what a change takes away beside what was read of the rest."""
    if name not in MERGED or value is None:
        return None if value is None else read
    return read | {key: None for key, each in value.items() if each is None}


def _full_info(services: Services, schedule: Schedule) -> ScheduleInfo:
    [view] = services.schedules.show([schedule])
    info = _info(view)
    info.upcoming = [at / 1000 for at in services.schedules.list_upcoming(schedule)]
    env = view.spec.env
    info.job = msgspec.structs.replace(view.spec, env=None if env is None else mask_secrets(env))
    return info


def _info(view: ScheduleView) -> ScheduleInfo:
    found = view.schedule
    return ScheduleInfo(
        id=Id(found.id),
        name=found.name,
        cron=_if_set(found.cron),
        every_s=_to_seconds(found.every_ms),
        timezone=found.timezone,
        catch_up=found.catch_up,
        overlap=found.overlap,
        jitter_s=_to_seconds(found.jitter_ms or None),
        expires_s=_to_seconds(found.expires_ms),
        lambda_=str(view.spec.lambda_),
        created_at=found.created_at / 1000,
        changed_at=found.changed_at / 1000,
        paused_at=_to_seconds(found.paused_at),
        next_at=_to_seconds(found.next_at),
        last_at=_to_seconds(found.last_at),
        last_job=UNSET if found.last_job_id is None else Id(found.last_job_id),
        last_state=_if_set(view.last_state),
        error=_if_set(found.error),
        submitter=_if_set(found.submitter),
    )


def _tick(tick: Tick, state: JobState | None) -> ScheduleTick:
    return ScheduleTick(
        at=tick.at / 1000,
        outcome=tick.outcome,
        by_hand=tick.kind == "hand",
        noted_at=tick.noted_at / 1000,
        job=UNSET if tick.job_id is None else Id(tick.job_id),
        state=_if_set(state),
        detail=tick.detail,
    )


def _if_set(value: T | None) -> Maybe[T]:
    return UNSET if value is None else value


def _to_seconds(milliseconds: int | None) -> Maybe[float]:
    return UNSET if milliseconds is None else milliseconds / 1000
