"""The client's calls about schedules: jobs that recur."""

import secrets
from collections.abc import AsyncIterator
from typing import Unpack

from msgspec import UNSET

from piecework.client.calls import AnyLambda, lambda_ref, path_id, path_name
from piecework.client.modes import call, iteration
from piecework.client.queue.jobs.inputs import Input, input_content
from piecework.client.queue.jobs.jobs import JobCalls, JobOptions, to_fields
from piecework.client.transport import PreparedRequest
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    CatchUp,
    JobCreated,
    JobSpec,
    MessageReply,
    Overlap,
    ScheduleCreate,
    ScheduleInfo,
    ScheduleList,
    ScheduleRun,
    ScheduleTick,
    ScheduleUpdate,
    TickList,
)

AnySchedule = int | str
"""A schedule as callers may write it: its id, or its name."""


class ScheduleCalls(JobCalls):
    """Schedules: each submits a job again and again. One that is not there gets NotFound (code 921)."""

    @call
    async def create_schedule(
        self,
        name: str,
        lambda_id: AnyLambda,
        input: Input = None,  # noqa: A002  # its name on the wire
        *,
        cron: str | None = None,
        every_s: float | None = None,
        timezone: str | None = None,
        catch_up: CatchUp = "one",
        overlap: Overlap = "allow",
        jitter_s: float = 0.0,
        expires_s: float | None = None,
        paused: bool = False,
        **options: Unpack[JobOptions],
    ) -> ScheduleInfo:
        """Create a schedule, by a ``cron`` line in a ``timezone`` (UTC) or every ``every_s`` seconds.

        What the rest means: ``ScheduleCreate``; ``options`` are its job's, but for ``key``, ``run_at`` and
        ``expires_at``. A lambda that is named is at each tick the newest of its name. Raises Conflict (code 922)
        when there is one of the name, so that repeating it after a lost answer makes no second one.
        """
        job = JobSpec(
            lambda_=lambda_ref(lambda_id),
            input=await input_content(input, self.upload),
            **await to_fields(options, self.upload),
        )
        body = ScheduleCreate(
            name=name,
            cron=UNSET if cron is None else cron,
            every_s=UNSET if every_s is None else every_s,
            timezone=UNSET if timezone is None else timezone,
            catch_up=catch_up,
            overlap=overlap,
            jitter_s=jitter_s,
            expires_s=UNSET if expires_s is None else expires_s,
            paused=paused,
            job=job,
        )
        return await self.carrier.call(PreparedRequest("POST", "/schedule", body=body), ScheduleInfo)

    @iteration
    def schedules(self, limit: int | None = None) -> AsyncIterator[ScheduleInfo]:
        """Go through the schedules, newest first; at most ``limit`` of them."""
        return self._items("/schedule", {}, ScheduleList, "schedules", limit)

    @call
    async def schedule(self, schedule: AnySchedule) -> ScheduleInfo:
        """Return a schedule, with its job and the times at which it ticks next."""
        return await self.carrier.call(PreparedRequest("GET", _path(schedule), repeatable=True), ScheduleInfo)

    @iteration
    def ticks(self, schedule: AnySchedule, limit: int | None = None) -> AsyncIterator[ScheduleTick]:
        """Go through what came of a schedule's ticks, newest first; at most ``limit`` of them."""
        return self._items(f"{_path(schedule)}/ticks", {}, TickList, "ticks", limit)

    @call
    async def change_schedule(self, schedule: AnySchedule, update: ScheduleUpdate) -> ScheduleInfo:
        """Change what is set in ``update``, and return the schedule as it is then. Safe to repeat."""
        request = PreparedRequest("PATCH", _path(schedule), body=update, repeatable=True)
        return await self.carrier.call(request, ScheduleInfo)

    @call
    async def pause_schedule(self, schedule: AnySchedule) -> ScheduleInfo:
        """Keep a schedule from ticking."""
        request = PreparedRequest("POST", f"{_path(schedule)}/pause", repeatable=True)
        return await self.carrier.call(request, ScheduleInfo)

    @call
    async def resume_schedule(self, schedule: AnySchedule) -> ScheduleInfo:
        """Let a schedule tick again; what fell into the pause is not made up for."""
        request = PreparedRequest("POST", f"{_path(schedule)}/resume", repeatable=True)
        return await self.carrier.call(request, ScheduleInfo)

    @call
    async def run_schedule(self, schedule: AnySchedule, key: str | None = None) -> Id:
        """Submit a schedule's job now, whatever its other jobs do, and return its id.

        Without an idempotency ``key`` the client makes one up, so that a lost answer never makes two jobs.
        """
        body = ScheduleRun(key=key or secrets.token_urlsafe(16))
        request = PreparedRequest("POST", f"{_path(schedule)}/run", body=body, repeatable=True)
        job_id = (await self.carrier.call(request, JobCreated)).id
        assert isinstance(job_id, Id), "the answer to one job has its id"
        return job_id

    @call
    async def remove_schedule(self, schedule: AnySchedule) -> str:
        """Remove a schedule; its jobs stay. Returns what the server says."""
        request = PreparedRequest("DELETE", _path(schedule), repeatable=True)
        return (await self.carrier.call(request, MessageReply)).message


def _path(schedule: AnySchedule) -> str:
    is_name = isinstance(schedule, str) and not schedule.isdecimal()
    return f"/schedule/{path_name(str(schedule)) if is_name else path_id(schedule)}"
