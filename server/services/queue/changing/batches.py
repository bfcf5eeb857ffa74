"""What can be done to many jobs at once, inside the caller's transaction, which has locked them."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from piecework.protocol.ids import ID_MAX
from piecework.protocol.messages import BulkAction
from piecework.protocol.states import UNSTARTED_STATES, JobState
from piecework.server.errors import InvalidRequest
from piecework.server.services.queue.lifecycle.cancelling import cancel_locked
from piecework.server.services.queue.lifecycle.endings import Endings
from piecework.server.services.queue.lifecycle.placing import Place, place
from piecework.server.services.queue.limits.limiter import place_jobs, release_jobs
from piecework.server.services.queue.waiting.waiting import Changes
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.figures import events
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.records import Event, Job

NOT_THERE = "there is no such job"


@dataclass
class BatchResult:
    """What was done to some jobs."""

    changed: list[int] = field(default_factory=list)
    """Jobs that are now as it was asked for, also those that were so before."""
    same: set[int] = field(default_factory=set)
    """Those that were so before."""
    refused: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """The others, by the reason."""
    made: dict[int, int] = field(default_factory=dict)
    """New jobs, by those that they were made of."""
    changes: Changes = field(default_factory=Changes)

    def note(self, job: Job, state: JobState) -> None:
        """Take down that a job is in a new state."""
        self.changed.append(job.id)
        self.changes.note(job.id, job.lane_id, state)

    def add(self, later: "BatchResult") -> None:
        """Add what was done after this."""
        self.changed += later.changed
        self.made |= later.made
        for reason, ids in later.refused.items():
            self.refused[reason] += ids


@dataclass
class Come:
    """How far a request came."""

    matched: int = 0
    done: BatchResult = field(default_factory=BatchResult)
    next: str | None = None
    """Where the next one goes on."""
    begin: str | None = None
    """Where work on the same jobs begins."""
    undoes: BulkAction | None = None
    """What was done to the jobs, where that is taken back."""


class Dry(Exception):
    """Ends the transaction of what is only tried."""

    def __init__(self, done: BatchResult) -> None:
        super().__init__()
        self.done = done


def read_numbers(cursor: str, count: int) -> list[int]:
    """Return the numbers of a cursor. Raises InvalidRequest when there are not so many."""
    try:
        numbers = list(map(int, cursor.split(".")))
        if len(numbers) == count and max(map(abs, numbers)) <= ID_MAX:
            return numbers
    except ValueError:
        pass
    raise InvalidRequest(f"the cursor is {cursor[:40]!r}, which no answer had as `next`")


def cancel(connection: Connection, found: Sequence[Job], endings: Endings, now: int) -> BatchResult:
    """Cancel jobs that have not ended."""
    done = BatchResult()
    live = []
    for job in found:
        if job.state is JobState.CANCELLED:
            done.changed.append(job.id)
            done.same.add(job.id)
        elif job.state.is_final:
            done.refused[f"it is {job.state}, which is final"].append(job.id)
        else:
            live.append(job)
    cancel_locked(connection, endings, live, done.changes, now)
    done.changed += [job.id for job in live]
    return done


def pause(connection: Connection, found: Sequence[Job], now: int) -> BatchResult:
    """Pause jobs that nobody runs yet. Those that are held with others are paused by themselves, too."""

    def decide(job: Job) -> Place | str:
        if job.state not in UNSTARTED_STATES:
            return f"it is {job.state}: only jobs that nobody runs yet can be paused"
        return Place(JobState.PAUSED, job.due_at)

    return _move(connection, found, decide, now)


def resume(connection: Connection, found: Sequence[Job], now: int) -> BatchResult:
    """Let jobs go on that were paused one by one."""

    def decide(job: Job) -> Place | str:
        if job.state is not JobState.PAUSED:
            return f"it is {job.state}: only paused jobs can be resumed"
        if job.waits == "hold":
            return "what it belongs to is paused: 'piecework pause list' shows it"
        return place(job, now)

    return _move(connection, found, decide, now)


def find_removable(found: Sequence[Job]) -> BatchResult:
    """Tell which of some jobs could be removed."""
    done = BatchResult()
    for job in found:
        if job.state.is_final:
            done.changed.append(job.id)
        else:
            done.refused[f"it is {job.state}: only jobs that have ended can be deleted"].append(job.id)
    return done


def _move(
    connection: Connection, found: Sequence[Job], decide: Callable[[Job], Place | str], now: int
) -> BatchResult:
    done = BatchResult()
    moves = []
    for job in found:
        goes = decide(job)
        if isinstance(goes, str):
            done.refused[goes].append(job.id)
        elif goes == (job.state, job.due_at, job.waits):
            done.changed.append(job.id)
            done.same.add(job.id)
        else:
            moves.append((job, goes))
    jobs.move_jobs(connection, ((job, *goes) for job, goes in moves))
    trail = [Event(job.id, now, goes.state, attempt=job.attempt) for job, goes in moves]
    events.add_events(connection, trail)
    for job, goes in moves:
        done.note(job, goes.state)
    place_jobs(connection, [job for job, goes in moves if goes.state is JobState.ENQUEUED], done.changes, now)
    release_jobs(connection, [job for job, goes in moves if goes.state is JobState.PAUSED], done.changes, now)
    return done
