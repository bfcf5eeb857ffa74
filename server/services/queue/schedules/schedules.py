"""Schedules as people handle them: create, look, change, pause, resume, run now, remove."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import JobSpec, ScheduleCreate, ScheduleUpdate, given
from piecework.protocol.names import NAME_RULE, is_name
from piecework.protocol.states import JobState
from piecework.server.errors import BlobNotFound, InvalidRequest, ScheduleExists, ScheduleNotFound
from piecework.server.services.core import Core
from piecework.server.services.queue.schedules.recurring import (
    check_recurring,
    draft_job,
    merge_spec,
    read_spec,
    write_spec,
)
from piecework.server.services.queue.schedules.timings import (
    UTC_NAME,
    list_upcoming,
    read_cron,
    read_interval,
    timing_of,
)
from piecework.server.services.queue.submitting.drafts import Draft
from piecework.server.services.queue.submitting.jobspecs import check_key
from piecework.server.services.queue.submitting.submission import Submission
from piecework.server.services.queue.waiting.waiting import Changes, Notifier
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.schedules import schedules, ticks
from piecework.server.store.queue.schedules.schedule_records import Schedule, Tick
from piecework.server.store.queue.schedules.schedules import Moved
from piecework.server.store.stock import blobs

JITTER_MAX_S = 3600
UPCOMING = 5
"""Ticks that are told ahead."""
NAME_SHOWN = 100


class ScheduleView(NamedTuple):
    """A schedule with its job, and the state of the last job that it submitted."""

    schedule: Schedule
    spec: JobSpec
    last_state: JobState | None


_Change = Callable[[Schedule, int], tuple[Schedule, Draft | None]]
"""Says how a schedule is to be, and which job it was checked with if that changed; is told the time."""


class _Columns(NamedTuple):
    """When a schedule ticks, as the columns say it."""

    cron: str | None
    every_ms: int | None
    timezone: str
    anchor_at: int


class _RehearsedError(Exception):
    """All went well, and nothing of it is to stay."""


class Schedules:
    """The schedules of this server. Every change is durable once it is answered."""

    def __init__(self, core: Core, submission: Submission, notifier: Notifier) -> None:
        self._database, self._ids, self._clock = core.database, core.ids, core.clock
        self._submission = submission
        self._notifier = notifier

    def create(self, request: ScheduleCreate, submitter: str | None = None) -> Schedule:
        """Store a schedule. ``submitter``: the name of the token that this and its jobs are submitted with.

        Raises ScheduleExists, InvalidRequest, LambdaNotFound or BlobNotFound.
        """
        if not is_name(request.name) or request.name.isdecimal():
            raise InvalidRequest(f"the name is {request.name[:NAME_SHOWN]!r}: {NAME_RULE}, and is no number")
        now = self._clock()
        draft = self._check_job(request.job, now)
        every_s = given(request.every_s)
        new = Schedule(
            id=self._ids.next(),
            name=request.name,
            **_read_timing(given(request.cron), every_s, given(request.timezone), now)._asdict(),
            catch_up=request.catch_up,
            overlap=request.overlap,
            jitter_ms=_read_jitter(request.jitter_s),
            expires_ms=_read_expiry(given(request.expires_s)),
            spec_json=write_spec(request.job, Id(draft.job.input_id)),
            input_id=draft.job.input_id,
            submitter=submitter,
            created_at=now,
            changed_at=now,
            version=0,
            paused_at=now if request.paused else None,
            next_at=None,
        )
        new = _plan_next(new, now)

        def store(connection: Connection) -> None:
            _keep_input(connection, draft)
            if not schedules.add_schedule(connection, new):
                raise ScheduleExists(f"there is a schedule named {new.name!r} already")

        self._database.write(store)
        return new

    def get(self, ref: str) -> Schedule:
        """Return the schedule of an id or a name. Raises ScheduleNotFound."""
        with self._database.read() as connection:
            return _require(connection, ref)

    def find_id(self, ref: str) -> int:
        """Return the id of a name; an id stays one when its schedule is gone. Raises ScheduleNotFound."""
        id_ = _read_id(ref)
        return self.get(ref).id if id_ is None else id_

    def list_page(self, *, before: int, limit: int) -> list[Schedule]:
        """Return schedules that are older than ``before``, newest first."""
        with self._database.read() as connection:
            return schedules.list_schedules(connection, before=before, limit=limit)

    def show(self, found: Sequence[Schedule]) -> list[ScheduleView]:
        """Return schedules with the states of their last jobs."""
        with self._database.read() as connection:
            states = jobs.find_states(connection, {each.last_job_id for each in found if each.last_job_id})
        return [ScheduleView(each, read_spec(each.spec_json), states.get(each.last_job_id or 0)) for each in found]

    def list_upcoming(self, schedule: Schedule) -> list[int]:
        """Return when a schedule ticks next, and so on."""
        return list(islice(list_upcoming(timing_of(schedule), schedule.next_at), UPCOMING))

    def list_ticks(self, id_: int, *, before: int, limit: int) -> list[tuple[int, Tick, JobState | None]]:
        """Return ticks of a schedule with smaller ids, newest first: id, tick, and the state of its job."""
        with self._database.read() as connection:
            page = ticks.list_ticks(connection, id_, before=before, limit=limit)
            states = jobs.find_states(connection, {tick.job_id for _, tick in page if tick.job_id})
        return [(number, tick, states.get(tick.job_id or 0)) for number, tick in page]

    def change(self, ref: str, request: ScheduleUpdate, job: Mapping[str, Any]) -> Schedule:
        """Change a schedule: what is set in ``request``, and the fields of ``job`` in its job.

        Raises ScheduleNotFound, and what ``create`` raises.
        """
        return self._change(ref, lambda was, now: self._merge(was, request, job, now))

    def pause(self, ref: str) -> Schedule:
        """Keep a schedule from ticking. Jobs that it submitted stay. Raises ScheduleNotFound."""
        return self._change(
            ref, lambda was, now: (was._replace(paused_at=was.paused_at or now, next_at=None), None)
        )

    def resume(self, ref: str) -> Schedule:
        """Let a schedule tick again; what it would have done while it was paused, it does not do.

        Raises ScheduleNotFound.
        """

        def resume(was: Schedule, now: int) -> tuple[Schedule, None]:
            return (was if was.paused_at is None else _plan_next(was._replace(paused_at=None), now)), None

        return self._change(ref, resume)

    def remove(self, ref: str) -> Schedule:
        """Remove a schedule. Jobs that it submitted stay. Raises ScheduleNotFound."""

        def remove(connection: Connection) -> Schedule:
            found = _require(connection, ref)
            if not schedules.remove_schedule(connection, found.id):
                raise _not_found(ref)
            return found

        return self._database.write(remove)

    def run(self, ref: str, key: str | None) -> int:
        """Submit a schedule's job now, whatever its other jobs do. Returns its id.

        With an idempotency key that is known, the earlier job's. Raises ScheduleNotFound, and as ``Submission``
        does.
        """
        now = self._clock()
        schedule = self.get(ref)
        draft = draft_job(self._submission, schedule, now, now)
        if key is not None:
            draft = draft._replace(job=draft.job._replace(key=check_key(key)))

        def store(connection: Connection) -> tuple[int, Changes]:
            found = schedules.lock_schedules(connection, [schedule.id]).get(schedule.id)
            if found is None:
                raise _not_found(ref)
            [id_], changes, _ = self._submission.store(connection, [draft], now)
            if id_ == draft.job.id:
                _note_run(connection, found.id, id_, now)
                schedules.move_schedules(connection, [Moved(found.id, found.next_at, now, id_, found.error)])
            return id_, changes

        id_, changes = self._database.write(store)
        self._notifier.notify(changes)
        return id_

    def _change(self, ref: str, change: _Change) -> Schedule:
        """Change a schedule as it is now, whoever else changes it meanwhile."""
        while True:
            now, was = self._clock(), self.get(ref)
            new, draft = change(was, now)
            if new == was:
                return was
            if self._database.write(partial(_store_change, was, new._replace(changed_at=now), draft)):
                return self.get(str(was.id))

    def _merge(
        self, was: Schedule, request: ScheduleUpdate, job: Mapping[str, Any], now: int
    ) -> tuple[Schedule, Draft | None]:
        new, draft = was, None
        if job:
            spec = merge_spec(was.spec_json, job)
            draft = self._check_job(spec, now)
            input_id = draft.job.input_id
            new = new._replace(spec_json=write_spec(spec, Id(input_id)), input_id=input_id, error=None)
        if not request.cron is request.every_s is request.timezone is UNSET:
            new = _plan_next(new._replace(**_change_timing(was, request, now)._asdict(), error=None), now)
        changes: dict[str, Any] = {}
        if request.jitter_s is not UNSET:
            changes["jitter_ms"] = _read_jitter(request.jitter_s)
        if request.expires_s is not UNSET:
            changes["expires_ms"] = _read_expiry(request.expires_s)
        for name in ("catch_up", "overlap"):
            if getattr(request, name) is not UNSET:
                changes[name] = getattr(request, name)
        return new._replace(**changes), draft

    def _check_job(self, spec: JobSpec, now: int) -> Draft:
        """Check the job of a schedule: it is submitted, and taken back. Raises as a submission does."""
        check_recurring(spec)
        [draft] = self._submission.prepare([spec], None, now)
        if draft.needs:
            raise InvalidRequest("the job of a schedule waits for no others, and takes the output of none")

        def rehearse(connection: Connection) -> None:
            self._submission.store(connection, [draft], now)
            raise _RehearsedError

        with suppress(_RehearsedError):
            self._database.write(rehearse)
        return draft


def _read_timing(cron: str | None, every_s: float | None, zone: str | None, now: int) -> _Columns:
    """Read when a schedule ticks. Raises InvalidRequest."""
    if (cron is None) == (every_s is None):
        raise InvalidRequest("a schedule has either `cron` or `every_s`: when it ticks")
    if every_s is not None:
        if zone is not None:
            raise InvalidRequest("an interval has no `timezone`: only cron lines are read in one")
        return _Columns(None, read_interval(every_s, now).every_ms, UTC_NAME, now)
    read_cron(cron or "", zone or UTC_NAME)
    return _Columns((cron or "").strip(), None, zone or UTC_NAME, now)


def _change_timing(was: Schedule, request: ScheduleUpdate, now: int) -> _Columns:
    """Return when a schedule ticks once it is changed: a line takes the place of an interval, and vice versa."""
    cron, every_s = given(request.cron), given(request.every_s)
    zone = None if was.timezone == UTC_NAME else was.timezone
    if request.timezone is not UNSET:
        zone = given(request.timezone)
    if cron is None and every_s is None:
        cron = was.cron
        every_s = None if was.every_ms is None else was.every_ms / 1000
    elif every_s is not None and request.timezone is UNSET:
        zone = None
    return _read_timing(cron, every_s, zone, now)


def _plan_next(schedule: Schedule, now: int) -> Schedule:
    next_at = None if schedule.paused_at is not None else timing_of(schedule).next_after(now)
    return schedule._replace(next_at=next_at)


def _read_jitter(jitter_s: float) -> int:
    if jitter_s > JITTER_MAX_S:
        raise InvalidRequest(f"jitter_s is {jitter_s:g}, but must be {JITTER_MAX_S} at most")
    return round(jitter_s * 1000)


def _read_expiry(expires_s: float | None) -> int | None:
    if expires_s is not None and expires_s < 1:
        raise InvalidRequest(f"expires_s is {expires_s:g}, but no job starts within less than a second")
    return None if expires_s is None else round(expires_s * 1000)


def _keep_input(connection: Connection, draft: Draft) -> None:
    """Store the input of a schedule's jobs, or keep one that is there. Raises BlobNotFound."""
    input_id = draft.job.input_id
    if draft.content is not None:
        blobs.add_blobs(connection, [draft.content])
    elif input_id and not blobs.hold_blobs(connection, [input_id]):
        raise BlobNotFound(f"the input {input_id} does not exist")


def _store_change(was: Schedule, new: Schedule, draft: Draft | None, connection: Connection) -> bool:
    if not schedules.change_schedule(connection, was, new):
        return False
    if draft is not None:
        _keep_input(connection, draft)
    return True


def _note_run(connection: Connection, schedule_id: int, job_id: int, now: int) -> None:
    """Note that somebody ran a schedule, beside those who did so in the same moment."""
    at = now
    while not ticks.add_tick(connection, Tick(schedule_id, at, "hand", now, "submitted", job_id)):
        at += 1


def _require(connection: Connection, ref: str) -> Schedule:
    """Return the schedule of an id or a name. Raises ScheduleNotFound."""
    id_ = _read_id(ref)
    found = schedules.find_by_name(connection, ref) if id_ is None else schedules.find_schedule(connection, id_)
    if found is None:
        raise _not_found(ref)
    return found


def _read_id(ref: str) -> int | None:
    """Return the id that a schedule is named by; None when it is a name. Raises InvalidRequest."""
    try:
        return Id.parse(ref) if ref.isdecimal() else None
    except ValueError as error:
        raise InvalidRequest(f"the schedule is wrong: {error}") from error


def _not_found(ref: str) -> ScheduleNotFound:
    return ScheduleNotFound(f"there is no schedule {ref[:NAME_SHOWN]}")
