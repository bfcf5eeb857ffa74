"""The feed: what happened to jobs, each change with a number, in an order that all readers see alike.

A transaction stores what it changed as one row of the outbox. Rows there become visible in the order of commits,
which is not that of any number that a transaction could take for itself: on PostgreSQL, one that began earlier may
commit later, and readers that have passed its number would never see it. So numbers are given afterwards, to what
is committed, by one at a time: whoever holds the head of the feed. It also packs many small rows into one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice, takewhile
from operator import attrgetter
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, delete, exists, insert, select, update

from piecework.protocol.states import JobState
from piecework.server.store.engine.connections import notes_of
from piecework.server.store.engine.statements import ByList, Statement
from piecework.server.store.engine.tables import jobs
from piecework.server.store.engine.tables.feed import feed, feed_heads, outbox
from piecework.server.store.queue.figures.counters import add_tallies
from piecework.server.store.queue.figures.tallies import Tally, read_tallies, write_tallies
from piecework.server.store.records import Event, Job, NewJob
from piecework.server.store.stock import audit

PACK = 1000
"""Changes in one row at most."""
DETAIL_LENGTH = 200
"""Characters that are kept of why a job came into a state."""

_insert_outbox = Statement(insert(outbox), "content", "tallies")
_first_of_outbox = Statement(
    select(outbox.c.id, outbox.c.content, outbox.c.tallies).order_by(outbox.c.id).limit(bindparam("most")), "most"
)
_delete_outbox = Statement(delete(outbox).where(outbox.c.id == bindparam("row")), "row")
_has_outbox = Statement(select(exists(select(outbox.c.id))))
_lock_head = Statement(select(feed_heads.c.last).where(feed_heads.c.id == 1).with_for_update())
_insert_head = Statement(insert(feed_heads), "id", "last")
_move_head = Statement(update(feed_heads).where(feed_heads.c.id == 1).values(last=bindparam("number")), "number")
_head = Statement(select(feed_heads.c.last))
_insert_pack = Statement(insert(feed), "last", "count", "at", "content")
_packs = Statement(
    select(feed.c.last, feed.c.count, feed.c.content)
    .where(feed.c.last > bindparam("after"))
    .order_by(feed.c.last)
    .limit(bindparam("most")),
    "after", "most",
)  # fmt: skip
_first_pack = Statement(select(feed.c.last, feed.c.count).order_by(feed.c.last).limit(1))
_oldest_packs = Statement(select(feed.c.last, feed.c.at).order_by(feed.c.last).limit(bindparam("most")), "most")
_delete_pack = Statement(delete(feed).where(feed.c.last == bindparam("row")), "row")
_BELONGING = attrgetter("lambda_id", "group_id")
_UNKNOWN = (0, 0)
_belonging = ByList(select(jobs.c.id, jobs.c.lambda_id, jobs.c.group_id), jobs.c.id)


class Run(msgspec.Struct, array_like=True):
    """Jobs to which the same happened at the same time."""

    at: int
    state: str
    detail: str
    job_ids: list[int]
    lambda_id: int = 0
    """0: who noted it did not know; it is looked up when numbers are given."""
    group_id: int = 0
    """0: none."""

    @property
    def common(self) -> tuple[object, ...]:
        """What its jobs have in common."""
        return self.at, self.state, self.detail, self.lambda_id, self.group_id


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Run]).decode


class JobChange(NamedTuple):
    """One job that came into a state."""

    number: int
    at: int
    job_id: int
    state: JobState
    lambda_id: int
    group_id: int
    detail: str


class FeedFilter(NamedTuple):
    """Which changes are meant; what is empty does not restrict."""

    job_ids: frozenset[int] = frozenset()
    lambda_ids: frozenset[int] | None = None
    group_ids: frozenset[int] = frozenset()
    states: frozenset[JobState] = frozenset()

    def admits(self, run: Run) -> bool:
        """Tell whether changes of a run may be meant: all of them, but for those of other jobs."""
        return (
            (not self.states or run.state in self.states)
            and (self.lambda_ids is None or run.lambda_id in self.lambda_ids)
            and (not self.group_ids or run.group_id in self.group_ids)
        )


class Pack(NamedTuple):
    """Changes whose numbers follow each other."""

    last: int
    """The number of the last of them."""
    size: int
    runs: list[Run]

    def changes(self, which: FeedFilter, after: int) -> Iterator[JobChange]:
        """Yield those that are meant, of those that follow a number."""
        number = self.last - self.size
        for run in self.runs:
            begin, number = number, number + len(run.job_ids)
            if number <= after or not which.admits(run):
                continue
            state = JobState(run.state)
            for place, job_id in enumerate(run.job_ids, begin + 1):
                if place > after and (not which.job_ids or job_id in which.job_ids):
                    yield JobChange(place, run.at, job_id, state, run.lambda_id, run.group_id, run.detail)


def note_changes(
    connection: Connection, at: int, state: JobState, moved: Iterable[Job | NewJob], detail: str = ""
) -> None:
    """Note which jobs come into a state in the transaction at hand, and why; ``seal`` stores it at its end."""
    notes = notes_of(connection)
    for (lambda_id, group_id), alike in groupby(moved, _BELONGING):
        ids = [job.id for job in alike]
        notes.append(Run(at, state.value, detail[:DETAIL_LENGTH], ids, lambda_id, group_id or 0))


def note_events(connection: Connection, events: Iterable[Event]) -> None:
    """Do what ``note_changes`` does, where only the ids of jobs are at hand."""
    notes, last, ids = notes_of(connection), None, list[int]()
    for each in events:
        if each.is_change:
            alike = (each.at, each.state, each.detail)
            if alike != last:
                last, ids = alike, []
                notes.append(Run(each.at, each.state.value, each.detail[:DETAIL_LENGTH], ids))
            ids.append(each.job_id)


def seal(connection: Connection, notes: Sequence[Run | Tally]) -> None:
    """Store what a transaction changed: in one row, when it is not very much."""
    changes: list[Run] = []
    counted: list[Tally] = []
    for each in notes:
        if isinstance(each, Run):
            changes.append(each)
        else:
            counted.append(each)
    tallies = write_tallies(counted)
    if sum(len(run.job_ids) for run in changes) <= PACK:
        _insert_outbox.run(connection, _encode(changes), tallies)
        return
    for runs, _ in _pack(changes):
        _insert_outbox.run(connection, _encode(runs), tallies)
        tallies = None


def _count_submits(tallies: Iterable[Tally]) -> Counter[audit.Count]:
    counts = Counter[audit.Count]()
    for tally in tallies:
        if tally.submitter:
            which = audit.Count(audit.Actor(*tally.submitter), audit.SUBMIT, tally.minute * 60_000)
            counts[which] += tally.counts["submitted"]
    return counts


def has_unnumbered(connection: Connection) -> bool:
    """Tell whether there are changes that have no numbers yet."""
    return bool(_has_outbox.value(connection))


def number_changes(connection: Connection, most: int, now: int) -> int:
    """Give numbers to committed changes, of ``most`` transactions and about 2 PACK changes at most.

    What these transactions tallied is counted. Returns to how many changes it gave numbers. Servers do so one
    after the other; safe to repeat.
    """
    head = _lock_head.value(connection)
    if head is None:
        head = 0
        _insert_head.run(connection, 1, head)
    taken, runs, tallies, count = [], list[Run](), list[Tally](), 0
    for id_, content, counted in _first_of_outbox.rows(connection, most):
        taken.append((id_,))
        tallies += read_tallies(counted)
        found = _decode(content)
        runs += found
        count += sum(len(run.job_ids) for run in found)
        if count >= PACK:
            break
    if not taken:
        return 0
    rows = []
    for packed, size in _pack(_complete(connection, runs)):
        head += size
        rows.append((head, size, now, _encode(packed)))
    _insert_pack.run_many(connection, rows)
    _delete_outbox.run_many(connection, taken)
    _move_head.run(connection, head)
    add_tallies(connection, tallies)
    audit.add_counts(connection, _count_submits(tallies))
    return count


def find_head(connection: Connection) -> int:
    """Return the number that was given last; 0 when none was."""
    return int(_head.value(connection) or 0)


def find_oldest(connection: Connection) -> int:
    """Return the smallest number that is kept; the next one when none is."""
    row = _first_pack.row(connection)
    return find_head(connection) + 1 if row is None else row[0] - row[1] + 1


def read_packs(connection: Connection, after: int, most: int) -> list[Pack]:
    """Return the packs that have numbers beyond ``after``, in order."""
    return [Pack(last, count, _decode(content)) for last, count, content in _packs.rows(connection, after, most)]


def forget_packs(connection: Connection, upto: int, before: int, most: int) -> int:
    """Remove the oldest packs: numbers up to ``upto``, and what is older than ``before``. Returns how many."""
    oldest = _oldest_packs.rows(connection, most)
    gone = list(takewhile(lambda pack: pack[0] <= upto or pack[1] < before, oldest))
    _delete_pack.run_many(connection, [(last,) for last, _ in gone])
    return len(gone)


def _complete(connection: Connection, runs: Sequence[Run]) -> Iterator[Run]:
    """Yield runs with the lambdas and groups of their jobs."""
    unknown = [id_ for run in runs if not run.lambda_id for id_ in run.job_ids]
    known = {row[0]: row[1:] for row in _belonging.rows(connection, unknown)}
    for run in runs:
        if run.lambda_id:
            yield run
            continue
        for (lambda_id, group_id), ids in groupby(run.job_ids, lambda id_: known.get(id_, _UNKNOWN)):
            yield Run(run.at, run.state, run.detail, list(ids), lambda_id, group_id or 0)


def _pack(runs: Iterable[Run]) -> Iterator[tuple[list[Run], int]]:
    """Yield runs, joined where they are alike, with how many changes there are in each list: PACK at most."""
    packed: list[Run] = []
    size = 0
    for run in runs:
        if packed and len(run.job_ids) + size <= PACK and packed[-1].common == run.common:
            packed[-1].job_ids += run.job_ids
            size += len(run.job_ids)
            continue
        ids = iter(run.job_ids)
        while some := list(islice(ids, PACK - size)):
            packed.append(Run(run.at, run.state, run.detail, some, run.lambda_id, run.group_id))
            size += len(some)
            if size == PACK:
                yield packed, size
                packed, size = [], 0
    if packed:
        yield packed, size
