"""What must be true of results that are kept, or agreed on: the promises of docs/trust.md."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from trust import Gave, Trust, compute
from workload import Asked

from piecework.protocol.messages import JobInfo, TraceEvent, given
from piecework.protocol.states import JobState
from piecework.server.services.queue.lifecycle.memo_terms import REPEATABLE

WRONG = "SELECT name, wrong FROM owners WHERE wrong > 0"
UNLOOKED = "SELECT name FROM owners WHERE caught_at IS NOT NULL LIMIT 1"
"""Owners that were caught, and whose other results are yet to be looked at."""
ALONE = "SELECT job_id, owner, at FROM votes WHERE alone"
VOTES = "SELECT job_id, owner, at FROM votes ORDER BY job_id"
OWNERS = "SELECT id, owner FROM workers"
OPEN = "SELECT key, job_id FROM memos WHERE state IS NULL"
STOPS = "SELECT detail FROM memo_stops"
LEFT = ("votes", "memos", "dependencies", "events", "logs")
"""Tables that have no row once all jobs are deleted and all results forgotten."""
VOTED = "another has to agree"
ANSWERED = "answered with the result of job "
"""How the detail of a step begins with which a job ends that nobody ran."""
AGAIN = "run again: "
"""How the detail of a step begins with which a job runs again whose result is in doubt."""
ANEW = "run again"
"""How that of any begins with which all votes on a job are void."""
Select = Callable[[str], list[Any]]


class TrustJudge:
    """Sees jobs as users see them, and says what was wrong."""

    def __init__(self, trust: Trust) -> None:
        self.trust = trust
        self._wrong: dict[str, int] = {}
        self._caught_after: dict[str, int] = {}
        """A time on the server's clock after which an owner was caught last, ms."""
        self._looked_at = 0

    def watch_owners(self, select: Select, now: int) -> None:
        """Note whose results were found to be wrong since the last look."""
        for name, wrong in select(WRONG):
            if wrong > self._wrong.get(name, 0):
                self._wrong[name], self._caught_after[name] = wrong, self._looked_at
        self._looked_at = now

    def find_faults_of(self, asked: Asked, info: JobInfo) -> Iterator[str]:
        """Go through what is wrong with a job of a lambda with a rule as somebody sees it, at any time."""
        assert asked.rule is not None
        gave, right = Gave.of_job(info), Gave.of_result(compute(asked.script))
        if not info.state.is_final and (given(info.output) or given(info.verified)):
            yield "a result is shown before it is accepted"
        if info.state not in {JobState.FINISHED, JobState.FAILED}:
            return
        if gave.kind and gave.kind not in REPEATABLE:
            if given(info.verified):
                yield "it failed for want of workers, and others are said to agree with that"
        elif asked.rule.verify is None:
            if gave != right:
                yield f"it gave {gave}, and its guest gives {right}"
        else:
            yield from self._find_faults_of_verified(asked, info, gave, is_right=gave == right)

    def _find_faults_of_verified(
        self, asked: Asked, info: JobInfo, gave: Gave, *, is_right: bool
    ) -> Iterator[str]:
        rule, trust = asked.rule, self.trust
        assert rule is not None
        agreeing = trust.find_agreeing(int(given(info.recalled) or info.id), gave)
        if given(info.verified):
            if len(agreeing) < rule.votes and not agreeing & trust.trusted:
                yield f"{sorted(agreeing)} agree on its result, and {rule.votes} owners should"
            if not is_right and trust.colluders < rule.votes:
                yield f"a wrong result is accepted: {gave}"
        elif given(info.recalled) or not rule.is_sampled:
            yield "a result is shown as accepted on which nobody agreed"
        elif not agreeing:
            yield "no worker gave its result"

    def find_wrong_votes(self, trails: Mapping[int, Iterable[TraceEvent]], select: Select) -> Iterator[str]:
        """No owner votes twice on a job, and none whose vote was not that of the others gets away with it."""
        owner_of = dict(select(OWNERS))
        standing = {(job, owner) for job, owner, _ in select(VOTES)}
        for id_, trail in trails.items():
            voted: set[str] = set()
            for event in trail:
                owner = owner_of.get(int(given(event.worker) or 0), "")
                if event.detail.startswith(ANEW):
                    voted.clear()
                elif event.state is JobState.RUNNING and owner in voted:
                    yield f"job {id_} was given to {owner} again, who has voted on it"
                elif event.detail.endswith(VOTED):
                    voted.add(owner)
            for owner in sorted(voted - self._wrong.keys() - self.trust.trusted):
                if (id_, owner) not in standing:
                    yield f"{owner} gave another result of job {id_} than others, and was not caught"

    def find_standing(self, select: Select) -> Iterator[str]:
        """What only owners gave that were caught since is not accepted any more."""
        for job, cast in groupby(select(VOTES), itemgetter(0)):
            voters = {owner: at for _, owner, at in cast}
            if voters.keys() <= self._caught_after.keys():
                since = [owner for owner, at in voters.items() if at < self._caught_after[owner]]
                yield from (
                    f"job {job} has a result of {sorted(voters)}, and {owner} was caught" for owner in since
                )
        for job, owner, at in select(ALONE):
            if at < self._caught_after.get(owner, 0):
                yield f"job {job} has a result of {owner} alone, which was caught since"

    def find_standing_answers(
        self, jobs: Mapping[int, JobInfo], trails: Mapping[int, Sequence[TraceEvent]]
    ) -> Iterator[str]:
        """No job is answered with a result that was in doubt since."""
        for id_, info in jobs.items():
            of = int(given(info.recalled) or 0)
            doubted = [event.at for event in trails.get(of, ()) if event.detail.startswith(AGAIN)]
            if doubted and doubted[-1] > trails[id_][-1].at:
                yield f"job {id_} was answered with the result of {of}, which was run again"

    def find_left_over(self, select: Select) -> Iterator[str]:
        """All that was begun has come to its end."""
        yield from (f"the results of {name} were not looked at" for (name,) in select(UNLOOKED))
        yield from (f"memo {key} waits for job {job} still" for key, job in select(OPEN))
        if all(self.trust.colluders < rule.votes for rule in self.trust.rules if rule.verify):
            yield from (f"honest code is not remembered any more: {detail}" for (detail,) in select(STOPS))


def find_leaks(select: Select) -> Iterator[str]:
    """Nothing is left of jobs once they are deleted, and their results forgotten."""
    for table in LEFT:
        [(count,)] = select(f"SELECT count(*) FROM {table}")
        if count:
            yield f"{count} rows of {table} are left of jobs that are gone"
