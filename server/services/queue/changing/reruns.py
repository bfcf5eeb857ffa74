"""Running jobs again that failed or were cancelled: the same job once more, or a new one with changes."""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import UnsetType

from piecework.protocol.matching import OWNER_TAG
from piecework.protocol.messages import JobEdit, Limits, read_ref
from piecework.protocol.states import JobState
from piecework.server.errors import BlobNotFound, InvalidRequest
from piecework.server.services.core import Core
from piecework.server.services.queue.changing.batches import BatchResult
from piecework.server.services.queue.dependencies.dependants import AS_INPUT
from piecework.server.services.queue.lifecycle.endings import Endings
from piecework.server.services.queue.lifecycle.placing import place
from piecework.server.services.queue.limits.limiter import place_jobs
from piecework.server.services.queue.submitting.intake import lane_tags, take_in
from piecework.server.services.queue.submitting.jobspecs import check_texts
from piecework.server.services.stock.data import Data
from piecework.server.services.stock.lambdas import Lambdas, check_limits, read_ok_codes
from piecework.server.store.engine.database import Connection
from piecework.server.store.job_keys import JobKeys
from piecework.server.store.options import NO_OPTIONS, JobOptions
from piecework.server.store.queue.dependencies import dependencies
from piecework.server.store.queue.dependencies.relations import Edge
from piecework.server.store.queue.figures import events
from piecework.server.store.queue.jobs import files, journals
from piecework.server.store.queue.jobs.files import FileRow, StoredFile
from piecework.server.store.queue.jobs.reruns import Rerun, find_made_of, rerun_jobs
from piecework.server.store.queue.leasing import lanes
from piecework.server.store.queue.trust import receipts, votes
from piecework.server.store.records import Event, Job, Lambda, NewJob
from piecework.server.store.stock import blobs

RERUN = frozenset({JobState.FAILED, JobState.CANCELLED})
"""What can be run again. A job that finished has its result."""


@dataclass(frozen=True)
class Edit:
    """What is other in the jobs that are made of some, checked."""

    lambda_: Lambda | None
    """None: each has its own."""
    input_id: int | None
    """None: each has its own; 0: none has any."""
    args: tuple[str, ...] | None
    env: dict[str, str]
    limits: Limits
    ok_codes: tuple[int, ...] | None
    """None: each has its own."""

    def change(self, options: JobOptions) -> JobOptions:
        changed = msgspec.structs.replace(
            options,
            args=options.args if self.args is None else self.args,
            env=options.env | self.env,
            limits=self.limits.over(options.limits),
            ok_codes=options.ok_codes if self.ok_codes is None else self.ok_codes,
        )
        check_texts(changed)
        return changed


def read_edit(edit: JobEdit, data: Data, lambdas: Lambdas) -> Edit:
    """Check changes, and store the input that they have. Raises InvalidRequest, LambdaNotFound or BlobNotFound."""
    limits = edit.limits
    if edit.timeout_s is not None:
        limits = msgspec.structs.replace(limits, timeout_s=edit.timeout_s)
    check_limits(limits)
    lambda_ = None if edit.lambda_ is None else lambdas.resolve(edit.lambda_)
    args = None if edit.args is None else tuple(edit.args)
    return Edit(lambda_, _read_input(edit, data), args, edit.env or {}, limits, read_ok_codes(edit.ok_codes))


def _read_input(edit: JobEdit, data: Data) -> int | None:
    if isinstance(edit.input, UnsetType):
        return None
    try:
        content, named = read_ref(edit.input)
    except ValueError as error:
        raise InvalidRequest(f"the input is wrong: {error}") from error
    if content is not None:
        return data.receive([content]).id
    if named and named not in data.find_digests([named]):
        raise BlobNotFound(f"the input {named} does not exist")
    return named or 0


def find_fault(job: Job, edges: Sequence[Edge], known: Container[int], *, anew: bool) -> str | None:
    """Say why a job cannot be run again; None when it can.

    ``edges`` are its dependencies, ``known`` has the ids of inputs that are there. ``anew``: as a new job.
    """
    if job.options.replays is not None:
        return "it is a replay: ask for another one"
    if job.state not in RERUN:
        return f"it is {job.state}: only jobs that failed or were cancelled can be run again"
    if any(edge.state == "broken" for edge in edges):
        return "a job that it waited for failed or was cancelled: run that again, and it follows"
    if anew and any(edge.state == "open" for edge in edges):
        return "what it waits for has not ended: it can only be run again as it is"
    if job.input_id and job.input_id not in known:
        return "its input was deleted"
    return None


def catch_up(job: Job, edges: Sequence[Edge]) -> Job:
    """Return a job with what it heard of the jobs that it waits for while it was final itself."""
    if not edges:
        return job
    inputs = [edge.blob_id or 0 for edge in edges if edge.name == AS_INPUT and edge.state == "done"]
    pending = sum(edge.state == "open" for edge in edges)
    return job._replace(pending=pending, input_id=inputs[0] if inputs else job.input_id)


def rerun(job: Job, attempts: int, vanished_max: int, now: int) -> Rerun:
    """Let a job have its number of attempts once more.

    Its attempts go on counting. What it lost with workers is forgiven, but that it lost any: it stays suspect. An
    end that has passed does not end it again.
    """
    goes = place(job, now)
    vanished = min(job.vanished, 1, vanished_max)
    most = job.attempt - vanished + (job.options.max_attempts or attempts)
    expires_at = job.expires_at if job.expires_at is not None and job.expires_at > now else None
    return Rerun(
        job.id, job.state_name, goes.state.value, goes.due_at, goes.waits, most, vanished, expires_at, job.pending,
        job.input_id,
    )  # fmt: skip


def make_anew(job: Job, own: Lambda, edit: Edit, id_: int, attempts: int, submitter: str | None) -> NewJob:
    """Return a new job that is like another but for changes. ``own`` is the other's lambda."""
    lambda_ = edit.lambda_ or own
    # It is to run, whatever is known of its like.
    options = edit.change(msgspec.structs.replace(job.options, memo=None, recalled=None, checks=None))
    tags = [tag for tag in job.tags if tag not in own.options.tags]
    return NewJob(
        id=id_,
        lambda_id=lambda_.id,
        runtime=lambda_.runtime,
        state=JobState.ENQUEUED,
        priority=job.priority,
        input_id=job.input_id if edit.input_id is None else edit.input_id,
        max_attempts=options.max_attempts or attempts,
        due_at=None,
        expires_at=None,
        key=None,
        key_digest=None,
        tags=tuple(dict.fromkeys((*lambda_.options.tags, *tags))),
        options=None if options == NO_OPTIONS else options,
        group_id=job.group_id,
        submitter=submitter,
        pending=None if job.pending is None else 0,
        retry_of=job.id,
        keys=JobKeys(concurrency_key=job.concurrency_key, rate_key=job.rate_key),
        retain_ms=job.retain_ms,
    )


def _find_edges(connection: Connection, found: Sequence[Job]) -> defaultdict[int, list[Edge]]:
    """Return what jobs wait, or waited, for."""
    edges = defaultdict[int, list[Edge]](list)
    children = [job.id for job in found if job.pending is not None]
    for edge in dependencies.find_of_children(connection, children) if children else ():
        edges[edge.child_id].append(edge)
    return edges


def _find_given(connection: Connection, found: Sequence[Job]) -> dict[int, list[StoredFile]]:
    """Return the files that jobs got in directories of their own."""
    with_folder = [job.id for job in found if job.options.has_folder]
    return files.find_files(connection, "given", with_folder) if with_folder else {}


def _find_missing(job: Job, given: Sequence[StoredFile], known: Container[int]) -> str | None:
    """Say which file keeps a job from being run again; None when there is none."""
    for each in given:
        if each.blob_id is None and not job.pending and job.options.on_failure == "cancel":
            return f"{each.parent_id}, which it waited for, gave back no file {each.source!r}"
        if each.blob_id and each.blob_id not in known:
            return "one of its files was deleted"
    return None


class Reruns:
    """Has jobs run again, inside the caller's transaction, which has locked them."""

    def __init__(self, core: Core, endings: Endings) -> None:
        self._ids, self._clock, self._settings = core.ids, core.clock, core.settings
        self._endings = endings

    def retry(
        self,
        connection: Connection,
        found: Sequence[Job],
        edit: Edit | None,
        who: str | None,
        lambdas: Mapping[int, Lambda],
        *,
        once: bool,
    ) -> BatchResult:
        """Run jobs again, or make new ones of them with changes, ``once`` of each at most.

        ``who`` is the name of a token. ``lambdas`` has the jobs' own, which only changes need.
        """
        done, sound = BatchResult(), []
        edges = _find_edges(connection, found)
        found = [catch_up(job, edges[job.id]) for job in found]
        given = _find_given(connection, found)
        named = {job.input_id for job in found} | {each.blob_id or 0 for own in given.values() for each in own}
        known = blobs.hold_blobs(connection, named - {0})
        for job in found:
            fault = find_fault(job, edges[job.id], known, anew=edit is not None)
            fault = fault or _find_missing(job, given.get(job.id, ()), known)
            if fault is None:
                sound.append(job)
            else:
                done.refused[fault].append(job.id)
        if edit is None:
            detail = "run again" if who is None else f"run again by {who}"
            self.run_again(connection, sound, detail, done)
            return done
        if once:
            made = find_made_of(connection, [job.id for job in sound])
            sound = [job for job in sound if job.id not in made]
        self._make(connection, sound, lambdas, edit, who, done)
        copies = [edge._replace(child_id=done.made[job]) for job in done.made for edge in edges[job]]
        dependencies.add_edges(connection, copies)
        kept = [
            FileRow(done.made[job], each.name, each.blob_id, each.parent_id, each.source)
            for job in done.made
            for each in given.get(job, ())
        ]
        files.add_files(connection, "given", kept)
        return done

    def run_again(
        self,
        connection: Connection,
        found: Sequence[Job],
        detail: str,
        done: BatchResult,
        without: str | None = None,
    ) -> None:
        """Have final jobs run again under the same ids; ``without``: not by workers of this owner."""
        found = self._forget_votes(connection, found, without)
        now, settings = self._clock(), self._settings
        again = [rerun(job, settings.max_attempts, settings.vanished_max, now) for job in found]
        rerun_jobs(connection, again)
        files.forget_made(connection, [job.id for job in found if job.options.has_folder])
        journals.forget_journals(connection, [job.id for job in found])
        receipts.remove_receipts(connection, [job.id for job in found])
        trail = [
            Event(job.id, now, JobState(to.state), attempt=job.attempt, detail=detail)
            for job, to in zip(found, again, strict=True)
        ]
        events.add_events(connection, trail)
        for job, event in zip(found, trail, strict=True):
            done.note(job, event.state)
        enqueued = [job for job, event in zip(found, trail, strict=True) if event.state is JobState.ENQUEUED]
        place_jobs(connection, enqueued, done.changes, now)
        self._endings.take_back(connection, found, done.changes, now)

    def _forget_votes(self, connection: Connection, found: Sequence[Job], without: str | None) -> list[Job]:
        """Have whoever may run jobs, whoever has voted on them. Returns them as they are then."""
        votes.forget_votes(connection, [job.id for job in found])
        known = {lane.id: lane for lane in lanes.find_lanes(connection, {job.lane_id for job in found})}
        rejected = [] if without is None else [f"-{OWNER_TAG}{without}"]
        again: list[Job] = []
        for job in found:
            lane = known[job.lane_id]
            if rejected or any(tag.startswith(OWNER_TAG) for tag in lane.rejected):
                tags = [*lane_tags(job), *rejected]
                lane_id = lanes.ensure_lane(connection, lane.runtime, tags, self._ids.next, lane.tenant)
                again.append(job._replace(lane_id=lane_id))
            else:
                again.append(job)
        moved = [(new.id, new.lane_id) for new, job in zip(again, found, strict=True) if new is not job]
        votes.move_to_lane(connection, moved)
        return again

    def _make(
        self,
        connection: Connection,
        found: Sequence[Job],
        lambdas: Mapping[int, Lambda],
        edit: Edit,
        who: str | None,
        done: BatchResult,
    ) -> None:
        new = []
        tenants = {lane.id: lane.tenant for lane in lanes.find_lanes(connection, {job.lane_id for job in found})}
        for job, id_ in zip(found, self._ids.take(len(found)), strict=True):
            try:
                made = make_anew(job, lambdas[job.lambda_id], edit, id_, self._settings.max_attempts, who)
            except InvalidRequest as error:
                done.refused[str(error)].append(job.id)
                continue
            new.append(made._replace(tenant=tenants[job.lane_id]))
            done.made[job.id] = id_
        done.changed += done.made
        ready = take_in(connection, self._ids, new, self._clock())
        done.changes.enqueued.update(ready.values())
