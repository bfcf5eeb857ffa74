"""Jobs that wait for others: what becomes of them when those end, or are run again.

A job that ends tells a few dependants in its own transaction. The rest, and those of jobs that end because of it,
hear of it in steps, from the timekeeper: what is left to tell is stored, so that no end of this program loses it.
A group that is waited for counts as a job here, which is Finished when all its members are.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import NamedTuple

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError
from piecework.protocol.states import JobState
from piecework.server.services.core import Core
from piecework.server.services.queue.dependencies.filling import fill_files
from piecework.server.services.queue.lifecycle.endings import Ended, Endings
from piecework.server.services.queue.lifecycle.placing import Place, place
from piecework.server.services.queue.limits.limiter import place_jobs
from piecework.server.services.queue.waiting.waiting import Changes, Notifier
from piecework.server.store.engine.database import Connection
from piecework.server.store.engine.statements import to_json
from piecework.server.store.queue.dependencies import dependencies
from piecework.server.store.queue.dependencies.dependencies import Cancellation, Release
from piecework.server.store.queue.dependencies.relations import Edge, EdgeState, Settling
from piecework.server.store.queue.figures import events
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.records import Event, Job

STEP = 50
"""Dependencies that the end of a job settles in its own transaction, and others between two looks at the time."""
BUSY_S = 0.02
"""A transaction of the timekeeper settles no further ones after so long: on SQLite, nobody else writes then."""
PAGE = 10_000
"""Dependencies among which one look searches for forgotten ones."""
AS_INPUT = "-"
"""The name of the dependency whose output is the job's input."""
AS_FILE = "/"
"""The name of one whose output is in files of the job's own directory; which, rows of their own say."""
AS_MEMO = "="
"""The name of one on an equal job, with whose result the child is answered."""
UNNAMED = frozenset({"", AS_INPUT, AS_FILE, AS_MEMO})
"""Names under which a job gets no file in ``/inputs``."""


class Met(NamedTuple):
    """A dependency, and the end that it waited for."""

    edge: Edge
    end: Settling

    @property
    def blob_id(self) -> int | None:
        """What the child gets, if it gets anything; 0: an empty output."""
        return self.end.output_id or (0 if self.end.state is JobState.FINISHED else None)

    def settle(self, *, breaks: bool) -> Edge:
        """Return how the dependency stands from now on; ``breaks``: if it was one that had to finish."""
        is_broken = breaks and self.end.state is not JobState.FINISHED
        state: EdgeState = "broken" if is_broken else "done"
        return self.edge._replace(state=state, blob_id=self.blob_id if self.edge.name else None)


SettleEquals = Callable[[Connection, Sequence[Met], Changes, int], list[Ended]]


class Dependants:
    """Lets jobs go on, or end, that wait for others."""

    def __init__(
        self,
        core: Core,
        endings: Endings,
        notifier: Notifier,
        settle_equals: SettleEquals,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self._database, self._clock, self._monotonic = core.database, core.clock, monotonic or core.sleeper.now_s
        self._endings = endings
        self._notifier = notifier
        self._settle_equals = settle_equals
        """Answers those that wait for an equal job."""
        self._looked_at: tuple[int, int] | None = None

    def react(self, connection: Connection, ended: Sequence[Ended], changes: Changes, now: int) -> Sequence[Ended]:
        """Tell those who wait for jobs that ended: a few now, more and those of whole chains later."""
        awaited = [each.job.id for each in ended if each.job.awaited]
        if not awaited:
            return ()
        waited = {each.job.id for each in ended if each.job.waits}
        left: list[Settling] = []
        met: list[Met] = []
        for id_, end in dependencies.lock_ends(connection, awaited).items():
            # A chain may be long: each of its links waits for its turn.
            room = 0 if id_ in waited else STEP + len(awaited) - len(met)
            edges = dependencies.find_of_parent(connection, id_, "open", room + 1)
            met += [Met(edge, end) for edge in edges[:room]]
            if len(edges) > room:
                left.append(end)
        changes.has_rest |= bool(left)
        dependencies.add_settlings(connection, left)
        return self._settle_met(connection, met, changes, now)

    def take_back(self, connection: Connection, again: Sequence[Job], changes: Changes, _now: int) -> None:
        """Have jobs wait again that were cancelled because of these, which are run again now."""
        awaited = [job.id for job in again if job.awaited]
        broken = dependencies.find_breakers(connection, awaited) if awaited else ()
        dependencies.add_settlings(connection, [Settling(id_, JobState.ENQUEUED.value) for id_ in sorted(broken)])
        changes.has_rest |= bool(broken)

    def settle(self) -> float:
        """Tell some of those who have not heard of an end yet. Returns in how many seconds there may be more."""
        with self._database.read() as connection:
            if not dependencies.has_settling(connection):
                return inf
        changes = self._database.write(self._settle)
        self._notifier.notify(changes)
        return 0.0

    def look_after(self) -> int:
        """Find jobs that wait for something which will not come, one page of them. Returns for how many ends.

        There are none, unless a database was changed by hand, or a program has a fault.
        """
        with self._database.read() as connection:
            page = dependencies.find_forgotten(connection, self._looked_at or (0, 0), PAGE)
        forgotten, self._looked_at = page
        if forgotten:
            self._database.write(partial(_remind, forgotten=forgotten))
        return len(forgotten)

    def _settle(self, connection: Connection) -> Changes:
        changes, now, end = Changes(), self._clock(), self._monotonic() + BUSY_S
        while settling := dependencies.next_settling(connection):
            current = dependencies.lock_ends(connection, [settling.parent_id]).get(settling.parent_id, settling)
            room = self._reopen(connection, current, STEP, changes, now)
            edges = []
            if current.state.is_final:
                edges = dependencies.find_of_parent(connection, current.parent_id, "open", room + 1)
            further = self._settle_met(connection, [Met(edge, current) for edge in edges[:room]], changes, now)
            if room and len(edges) <= room:
                dependencies.drop_settling(connection, settling.parent_id)
            self._endings.pass_on(connection, further, changes, now)
            if self._monotonic() >= end:
                break
        return changes

    def _settle_met(self, connection: Connection, met: Sequence[Met], changes: Changes, now: int) -> list[Ended]:
        equals = [each for each in met if each.edge.name == AS_MEMO]
        ended = self._settle_equals(connection, equals, changes, now) if equals else []
        others = [each for each in met if each.edge.name != AS_MEMO] if equals else met
        return ended + _settle_edges(connection, others, changes, now)

    def _reopen(self, connection: Connection, settling: Settling, room: int, changes: Changes, now: int) -> int:
        """Let those wait again that were cancelled because of a job or group which did not stay failed."""
        if settling.state in {JobState.FAILED, JobState.CANCELLED}:
            return room
        edges = dependencies.find_of_parent(connection, settling.parent_id, "broken", room)
        if not edges:
            return room
        dependencies.set_edges(connection, [each._replace(state="open") for each in edges])
        children = jobs.lock_jobs(connection, {each.child_id for each in edges})
        counts = dependencies.count_edges(connection, children)
        revived = [
            job
            for job in children.values()
            if _is_cancelled_for_others(job) and not counts.get((job.id, "broken"))
        ]
        dependencies.revive_children(connection, [(job.id, counts[job.id, "open"]) for job in revived])
        detail = f"waits again: {settling.parent_id} is run again"
        trail = [Event(job.id, now, JobState.WAITING, attempt=job.attempt, detail=detail) for job in revived]
        events.add_events(connection, trail)
        for job in revived:
            changes.note(job.id, job.lane_id, JobState.WAITING)
        self._endings.take_back(connection, revived, changes, now)
        return room - len(edges)


def _is_cancelled_for_others(job: Job) -> bool:
    """Tell whether a job was cancelled because one that it waited for did not finish."""
    return job.state is JobState.CANCELLED and job.error is not None and job.error.kind is ErrorKind.PARENT


def _settle_edges(connection: Connection, met: Sequence[Met], changes: Changes, now: int) -> list[Ended]:
    """Settle dependencies on jobs and groups that are final. Returns the jobs that are cancelled by that."""
    by_child: defaultdict[int, list[Met]] = defaultdict(list)
    for each in met:
        by_child[each.edge.child_id].append(each)
    children = jobs.lock_jobs(connection, by_child) if met else {}
    awaiting = {id_ for id_, job in children.items() if job.options_json and job.options.awaits_files}
    lacking = fill_files(connection, [(id_, each.end) for id_ in awaiting for each in by_child[id_]])
    settled: list[Edge] = []
    releases: list[Release] = []
    cancellations: list[Cancellation] = []
    trail: list[Event] = []
    ended: list[Ended] = []
    enqueued: list[Job] = []
    for id_, mine in by_child.items():
        job = children.get(id_)
        breaks = job is not None and job.options.on_failure == "cancel"
        settled += [each.settle(breaks=breaks) for each in mine]
        if job is None or job.state.is_final or not job.pending:
            continue
        failed = next((each.end for each in mine if each.end.state is not JobState.FINISHED), None)
        reason = lacking.get(id_) if failed is None else _describe_refusal(failed)
        if breaks and reason is not None:
            cancellations.append(_refuse(job, reason, now))
            event = Event(id_, now, JobState.CANCELLED, attempt=job.attempt, detail=reason)
            ended.append(Ended(job, JobState.CANCELLED))
        else:
            release, goes = _release(job, mine, now)
            releases.append(release)
            event = Event(id_, now, goes.state, attempt=job.attempt, detail="all that it waited for has ended")
            if release.pending or (goes.state is job.state and goes.waits == job.waits):
                continue
            if goes.state is JobState.ENQUEUED:
                enqueued.append(job)
        trail.append(event)
        changes.note(id_, job.lane_id, event.state)
    dependencies.set_edges(connection, settled)
    dependencies.settle_children(connection, releases)
    dependencies.cancel_children(connection, cancellations)
    events.add_events(connection, trail)
    place_jobs(connection, enqueued, changes, now)
    return ended


def _release(job: Job, met: Sequence[Met], now: int) -> tuple[Release, Place]:
    """Return where a job stands that waits for fewer others now. One that somebody paused stays so."""
    assert job.pending is not None
    left = job._replace(pending=max(0, job.pending - len(met)))
    goes = place(left, now) if job.state is JobState.WAITING else Place(job.state, job.due_at, job.waits)
    given = [each.blob_id for each in met if each.edge.name == AS_INPUT and each.blob_id is not None]
    input_id = given[0] if given else job.input_id
    assert left.pending is not None
    return Release(job.id, job.state_name, goes.state.value, goes.due_at, goes.waits, left.pending, input_id), goes


def _refuse(job: Job, reason: str, now: int) -> Cancellation:
    error = JobError(kind=ErrorKind.PARENT, message=reason)
    return Cancellation(job.id, job.state_name, job.pending or 0, to_json(error) or "", now)


def _describe_refusal(settling: Settling) -> str:
    words = {JobState.FAILED: "failed", JobState.CANCELLED: "was cancelled"}
    return f"{settling.parent_id}, which it waited for, {words[settling.state]}"


def _remind(connection: Connection, forgotten: Sequence[int]) -> None:
    """Have those told who wait for something that is final, or is not there any more: that counts as cancelled."""
    ends = dependencies.lock_ends(connection, forgotten)
    gone = JobState.CANCELLED.value
    dependencies.add_settlings(connection, [ends.get(id_, Settling(id_, gone)) for id_ in sorted(set(forgotten))])
