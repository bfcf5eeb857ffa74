"""Memos: a deterministic job is run once, and equal ones are answered with its result.

What decides the result is the key of a memo: code, runtime, input, files, arguments, environment and limits, among
the jobs of one tenant. The first job with a key runs; those that come meanwhile wait for it; those that come later
are answered inside their own submission. What may differ the next time is not kept: only ends that the guest
itself brought about, of runs whose worker counted fuel and told digests. Some of the jobs that were answered are
run all the same, and compared: of code that gives two results for one job, none are kept any more.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import msgspec
import structlog

from piecework.protocol.states import JobState
from piecework.server.services.core import Core
from piecework.server.services.queue.dependencies.dependants import AS_MEMO, Met
from piecework.server.services.queue.lifecycle.endings import Ended, Endings
from piecework.server.services.queue.lifecycle.memo_terms import (
    MemoTerms,
    job_error_kind,
    read_facts,
    without_times,
)
from piecework.server.services.queue.lifecycle.placing import place
from piecework.server.services.queue.limits.limiter import place_jobs
from piecework.server.services.queue.waiting.waiting import Changes
from piecework.server.services.stock.data import Data
from piecework.server.services.stock.lambdas import Lambdas
from piecework.server.store.engine.database import Connection
from piecework.server.store.engine.statements import to_json
from piecework.server.store.options import NO_OPTIONS
from piecework.server.store.queue.dependencies import dependencies
from piecework.server.store.queue.dependencies.dependencies import Release
from piecework.server.store.queue.dependencies.relations import Edge
from piecework.server.store.queue.figures import events
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.trust import memos
from piecework.server.store.queue.trust.memos import Memo, MemoStop, RecalledEnd
from piecework.server.store.records import Event, Job, Lambda, NewJob
from piecework.server.store.stock import blobs

TRIES = 3
"""So often a submission looks who gives a result, while other servers change that."""
REMOVED = 100
"""Results that are removed in one transaction."""
STOPS = 100
"""Stops that are looked at."""
Random = Callable[[], float]
log = structlog.get_logger("server")


class Asked(NamedTuple):
    """A new job for which there may be a memo."""

    job: NewJob
    terms: MemoTerms
    input_sha256: bytes
    """Empty: it has no input."""
    files: bytes
    """The digest of its files; empty: it has none."""

    @property
    def key(self) -> str:
        return self.terms.find_key(self.input_sha256, self.files)


class LookedUp(NamedTuple):
    """What there is for new jobs."""

    jobs: dict[int, NewJob]
    """Those for which there is something, as they are to be stored, by id."""
    hits: dict[int, Memo]
    """Which of them are answered, with what."""
    edges: list[Edge]
    """Which of them wait for which others; done: they are answered with what owners agreed on."""
    checks: dict[int, NewJob]
    """New jobs that run all the same what others are answered with, by the ids of those."""


class MemoView(NamedTuple):
    """What is kept of some code."""

    kept: int
    """Results."""
    hits: int
    """Jobs that were answered with these."""
    stop: MemoStop | None
    """Why none are kept any more."""


class MemoCounts:
    """What was done since this server started."""

    def __init__(self) -> None:
        self.answered = 0
        """Jobs that were answered with a memo."""
        self.checked = 0
        """Of these, how many were run all the same."""


class Memos:
    """Answers jobs with the results of others."""

    def __init__(
        self, core: Core, data: Data, lambdas: Lambdas, endings: Endings, chance: Random = random.random
    ) -> None:
        self._database, self._ids, self._clock, self._settings = core.database, core.ids, core.clock, core.settings
        self._data = data
        self._lambdas = lambdas
        self._endings = endings
        self._chance = chance
        self.counts = MemoCounts()
        self._told: set[MemoStop] = set()

    def describe(self, lambda_: Lambda) -> MemoView:
        """Return what is kept of a lambda's code."""
        code = _code_of(lambda_)
        with self._database.read() as connection:
            kept, hits = memos.count_memos(connection, code)
            return MemoView(kept, hits, memos.find_stop(connection, code))

    def count_stops(self) -> int:
        """Return of how much code no results are kept, because it gave two for one job."""
        with self._database.read() as connection:
            return len(memos.list_stops(connection, STOPS))

    def forget(self, lambda_: Lambda) -> int:
        """Forget the results of a lambda's code, and keep new ones again. Returns how many there were."""
        code, count = _code_of(lambda_), 0
        while some := self._remove(partial(memos.list_of_code, code_sha256=code, most=REMOVED)):
            count += some
        self._database.write(partial(memos.remove_stop, code_sha256=code))
        return count

    def sweep(self) -> bool:
        """Remove some results that are not wanted any more. Returns whether there may be more."""
        with self._database.read() as connection:
            stops = memos.list_stops(connection, STOPS)
        for stop in stops:
            if stop not in self._told:
                self._told.add(stop)
                log.error("a deterministic job gave two results", code=stop.code_sha256[:12], why=stop.detail)
            if self._remove(partial(memos.list_of_code, code_sha256=stop.code_sha256, most=REMOVED)):
                return True
        kept_ms = self._settings.keep_ms("memos")
        if kept_ms < 0:
            return False
        before = self._clock() - kept_ms
        return self._remove(partial(memos.list_unused, before=before, most=REMOVED)) == REMOVED

    def _remove(self, find: Callable[[Connection], list[tuple[str, int | None]]]) -> int:
        count, stored = self._database.write(partial(_remove_found, find=find))
        self._data.drop(stored)
        return count

    def look_up(self, connection: Connection, asked: Iterable[Asked], now: int) -> LookedUp:
        """See what there is for new jobs, inside the transaction that stores them."""
        verified = {each.job.id for each in asked if each.terms.is_verified}
        wanted = {each.job.id: (each.job, Memo(each.key, each.terms.code_sha256, each.job.id)) for each in asked}
        stopped = memos.find_stopped(connection, {memo.code_sha256 for _, memo in wanted.values()})
        wanted = {id_: each for id_, each in wanted.items() if each[1].code_sha256 not in stopped}
        known = _find_or_begin(connection, [memo for _, memo in wanted.values()], now)
        outputs = {each.output_id for each in known.values() if each.output_id}
        held = blobs.hold_blobs(connection, outputs) if outputs else {}
        found = LookedUp({}, {}, [], {})
        for job, mine in wanted.values():
            memo = known.get(mine.key)
            if memo is not None and (not memo.output_id or memo.output_id in held):
                self._apply(found, job, memo, is_verified=job.id in verified)
        leaders = {each.parent_id for each in found.edges if each.state == "open"}
        for id_ in leaders & found.jobs.keys():
            found.jobs[id_] = found.jobs[id_]._replace(awaited=True)
        dependencies.mark_awaited(connection, leaders - found.jobs.keys())
        return found

    def _apply(self, found: LookedUp, job: NewJob, memo: Memo, *, is_verified: bool) -> None:
        options = msgspec.structs.replace(job.options or NO_OPTIONS, memo=memo.key)
        if memo.state_name is not None:
            found.hits[job.id] = memo
            if is_verified:  # that may come to be doubted
                found.edges.append(Edge(job.id, memo.job_id, AS_MEMO, "done"))
            options = msgspec.structs.replace(options, recalled=memo.job_id)
            if self._chance() < self._settings.memo_check:
                checks = msgspec.structs.replace(options, memo=None, recalled=None, checks=memo.key, on_end=None)
                check = job.like_this(self._ids.next(), job.input_id, None)
                found.checks[job.id] = check._replace(options=checks, group_id=None, schedule_id=None)
        elif memo.job_id != job.id:
            found.edges.append(Edge(job.id, memo.job_id, AS_MEMO))
            job = job._replace(state=JobState.WAITING, waits="after", pending=1)
        found.jobs[job.id] = job._replace(options=options)

    def answer(self, connection: Connection, found: LookedUp, changes: Changes, now: int) -> None:
        """End stored jobs with the results of others, and have others wait; those who wait for them hear of it."""
        dependencies.add_edges(connection, found.edges)
        locked = list(jobs.lock_jobs(connection, found.hits).values())
        ended = self._answer(connection, locked, found.hits, changes, now)
        self._endings.pass_on(connection, ended, changes, now)

    def react(
        self, connection: Connection, ended: Sequence[Ended], _changes: Changes, now: int
    ) -> Sequence[Ended]:
        """Keep the results of jobs that ended, and compare those of jobs that were run again."""
        told = [each.job for each in ended if each.job.options_json and _is_concerned(each.job)]
        if not told:
            return ()
        rows = jobs.find_jobs(connection, (job.id for job in told))
        made: list[Memo] = []
        lost: list[tuple[str, int]] = []
        for job in rows.values():
            options = job.options
            if options.checks or options.recalled is not None:
                self._compare(connection, job, options.checks or options.memo or "", now)
            elif read_facts(job.state_name, job.error_json, job.usage_json) is None:
                lost.append((options.memo or "", job.id))
            else:
                made.append(
                    Memo(
                        options.memo or "", "", job.id, job.state_name, job.output_id, job.error_json,
                        without_times(job.usage_json),
                    )
                )  # fmt: skip
        memos.keep_results(connection, made, now)
        memos.drop_open(connection, lost)
        return ()

    def settle(self, connection: Connection, met: Sequence[Met], changes: Changes, now: int) -> list[Ended]:
        """Answer jobs that waited for an equal one which ended. If that gave no result, the first of them is next.

        Returns those that are final now.
        """
        dependencies.set_edges(connection, [each.edge._replace(state="done") for each in met])
        found = jobs.lock_jobs(connection, (each.edge.child_id for each in met)).values()
        waiting = [job for job in found if not job.state.is_final and job.pending]
        by_key: defaultdict[str, list[Job]] = defaultdict(list)
        for job in waiting:
            by_key[job.options.memo or ""].append(job)
        known = memos.find_memos(connection, by_key)
        hits = {
            job.id: memo
            for key, alike in by_key.items()
            if (memo := known.get(key)) and memo.state_name is not None
            for job in alike
        }
        _note_others(connection, met, hits)
        self._go_on(
            connection, {key: all_ for key, all_ in by_key.items() if all_[0].id not in hits}, changes, now
        )
        return self._answer(connection, [job for job in waiting if job.id in hits], hits, changes, now)

    def _go_on(
        self, connection: Connection, by_key: Mapping[str, Sequence[Job]], changes: Changes, now: int
    ) -> None:
        """Have one of each kind give the result for the others."""
        firsts = [alike[0] for alike in by_key.values()]
        codes = {job.id: _code_of(self._lambdas.get(job.lambda_id)) for job in firsts}
        known = _find_or_begin(
            connection, [Memo(key, codes[alike[0].id], alike[0].id) for key, alike in by_key.items()], now
        )
        edges = [
            Edge(job.id, known[key].job_id, AS_MEMO)
            for key, alike in by_key.items()
            for job in alike
            if key in known and known[key].job_id != job.id
        ]
        dependencies.add_edges(connection, edges)
        dependencies.mark_awaited(connection, {each.parent_id for each in edges})
        still = {each.child_id for each in edges}
        released = [job for alike in by_key.values() for job in alike if job.id not in still]
        places = [place(job._replace(pending=0), now) for job in released]
        dependencies.settle_children(
            connection,
            [
                Release(job.id, job.state_name, goes.state.value, goes.due_at, goes.waits, 0, job.input_id)
                for job, goes in zip(released, places, strict=True)
            ],
        )
        for job, goes in zip(released, places, strict=True):
            changes.note(job.id, job.lane_id, goes.state)
        detail = "the equal job that it waited for gave no result"
        events.add_events(
            connection,
            [
                Event(job.id, now, goes.state, attempt=job.attempt, detail=detail)
                for job, goes in zip(released, places, strict=True)
            ],
        )
        enqueued = [job for job, goes in zip(released, places, strict=True) if goes.state is JobState.ENQUEUED]
        place_jobs(connection, enqueued, changes, now)

    def _answer(
        self,
        connection: Connection,
        locked: Sequence[Job],
        hits: Mapping[int, Memo],
        changes: Changes,
        now: int,
    ) -> list[Ended]:
        ends, trail, ended = [], [], []
        for job in locked:
            memo = hits[job.id]
            state = JobState(memo.state_name or "")
            options = msgspec.structs.replace(job.options, recalled=memo.job_id)
            ends.append(
                RecalledEnd(
                    job.id, job.state_name, state.value, memo.output_id, memo.error_json, memo.usage_json,
                    to_json(options), now, None if job.pending is None else 0,
                )
            )  # fmt: skip
            detail = f"answered with the result of job {memo.job_id}"
            trail.append(Event(job.id, now, state, detail=detail))
            changes.note(job.id, job.lane_id, state)
            ended.append(Ended(job, state, job_error_kind(memo.error_json)))
        memos.end_recalled(connection, ends)
        events.add_events(connection, trail)
        self.counts.answered += len(locked)
        memos.note_hits(connection, Counter(hits[job.id].key for job in locked), now)
        return ended

    def _compare(self, connection: Connection, job: Job, key: str, now: int) -> None:
        """Compare a job that was run with the memo that others were answered with."""
        memo = memos.find_memos(connection, [key]).get(key)
        if memo is None or memo.state_name is None:
            return
        ran = read_facts(job.state_name, job.error_json, job.usage_json)
        kept = read_facts(memo.state_name, memo.error_json, memo.usage_json)
        if ran is None or kept is None:
            return
        self.counts.checked += 1
        if difference := ran.differs_in(kept):
            detail = f"job {job.id} had another {difference} than job {memo.job_id}, which should be equal"
            memos.add_stop(connection, MemoStop(memo.code_sha256, now, detail))


def _find_or_begin(connection: Connection, wanted: Iterable[Memo], now: int) -> dict[str, Memo]:
    """Return the memos for keys: those that are there, of jobs that live if they are open, or new ones as wanted.

    When others are quicker each time, some are missing.
    """
    firsts: dict[str, Memo] = {}
    for each in wanted:
        firsts.setdefault(each.key, each)
    known: dict[str, Memo] = {}
    for _ in range(TRIES):
        known = memos.find_memos(connection, firsts)
        others = [each for each in known.values() if each.state_name is None and each != firsts[each.key]]
        # Whoever ends one of these now is waited for: then its result is there, or it gave none.
        ends = dependencies.lock_ends(connection, {each.job_id for each in others}) if others else {}
        over = [each for each in others if each.job_id not in ends or ends[each.job_id].state.is_final]
        missing = [each for key, each in firsts.items() if key not in known]
        if not over and not missing:
            return known
        memos.add_memos(connection, missing, now)
        memos.take_over(connection, [(each.key, each.job_id, firsts[each.key].job_id) for each in over])
    return {key: each for key, each in known.items() if each.state_name is not None}


def _note_others(connection: Connection, met: Sequence[Met], hits: Mapping[int, Memo]) -> None:
    """Note with whose results jobs are answered that waited for others, which gave none."""
    waited = {each.edge.child_id: each.edge.parent_id for each in met}
    others = {id_: memo.job_id for id_, memo in hits.items() if memo.job_id != waited[id_]}
    if others:
        known = {edge[:3] for edge in dependencies.find_of_children(connection, others)}
        new = [Edge(child, parent, AS_MEMO, "done") for child, parent in others.items()]
        dependencies.add_edges(connection, [edge for edge in new if edge[:3] not in known])


def _code_of(lambda_: Lambda) -> str:
    return (lambda_.codex_sha256 or b"").hex()


def _remove_found(
    connection: Connection, find: Callable[[Connection], list[tuple[str, int | None]]]
) -> tuple[int, list[bytes]]:
    """Remove the memos that are found. Returns how many, and the digests of large blobs that went with them."""
    found = find(connection)
    memos.delete_memos(connection, [key for key, _ in found])
    return len(found), blobs.delete_unused(connection, {output for _, output in found if output})


def _is_concerned(job: Job) -> bool:
    """Tell whether a job that ends gives a result for others, or is compared; not one that was only answered."""
    options = job.options
    return options.checks is not None or (
        options.memo is not None and (options.recalled is None or job.lease is not None)
    )
