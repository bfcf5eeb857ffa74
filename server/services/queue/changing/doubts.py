"""Doubts: what becomes of accepted results when an owner of workers is caught that gave some of them.

What was accepted because that owner was believed is run again, as is that with which none agreed but owners who
were caught themselves; so are jobs that were answered with it. Its votes on jobs that are open are void.
"""

from collections.abc import Sequence
from functools import partial

from piecework.protocol.states import JobState
from piecework.server.services.core import Core
from piecework.server.services.queue.changing.batches import BatchResult
from piecework.server.services.queue.changing.reruns import Reruns
from piecework.server.services.queue.dependencies.dependants import AS_MEMO
from piecework.server.services.queue.waiting.waiting import Notifier
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.dependencies import dependencies
from piecework.server.store.queue.dependencies.relations import Edge
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.trust import memos, votes
from piecework.server.store.queue.trust.votes import OwnerRecord
from piecework.server.store.records import Job

RECHECKED = 200
"""Votes of an owner that are looked at in one transaction, or answered jobs that are run again."""
CAUGHT = 10
"""Owners that are looked at in one transaction."""


class Doubts:
    """Looks after what owners gave that were caught."""

    def __init__(self, core: Core, reruns: Reruns, notifier: Notifier) -> None:
        self._database = core.database
        self._reruns = reruns
        self._notifier = notifier
        self._looked_at: dict[OwnerRecord, int] = {}
        """How far the votes of owners who were caught were looked at."""

    def recheck(self) -> None:
        """Do a step: have jobs run again whose results are in doubt."""
        with self._database.read() as connection:
            caught = votes.find_caught(connection, CAUGHT)
        for owner in caught:
            done, next_ = self._database.write(partial(self._doubt, owner=owner))
            self._notifier.notify(done.changes)
            if next_ is None:
                self._looked_at.pop(owner, None)
            else:
                self._looked_at[owner] = next_

    def _doubt(self, connection: Connection, owner: OwnerRecord) -> tuple[BatchResult, int | None]:
        done, after = BatchResult(), self._looked_at.get(owner, 0)
        ids, next_ = votes.find_doubtful(connection, owner.name, after, RECHECKED)
        found = jobs.lock_jobs(connection, ids)
        ended = [job for job in found.values() if job.state in {JobState.FINISHED, JobState.FAILED}]
        memos.drop_made(connection, [(job.options.memo, job.id) for job in ended if job.options.memo])
        if answered := self._find_answered(connection, ended):
            self._run_again(connection, answered, owner, done)
            return done, after  # for there may be more of them
        votes.remove_votes(connection, [(id_, owner.name) for id_ in ids])
        self._run_again(connection, ended, owner, done)
        if next_ is None:
            votes.note_looked(connection, owner)
        return done, next_

    def _find_answered(self, connection: Connection, ended: Sequence[Job]) -> list[Job]:
        """Return some of the jobs that were answered with the results of others, and have these forget it."""
        edges: list[Edge] = []
        for job in ended:
            if job.options.memo and len(edges) < RECHECKED:
                edges += dependencies.find_named(connection, job.id, "done", AS_MEMO, RECHECKED)
        dependencies.remove_edges(connection, edges)
        found = jobs.lock_jobs(connection, (each.child_id for each in edges)).values()
        return [
            job for job in found if job.state.is_final and job.attempt == 0 and job.options.recalled is not None
        ]

    def _run_again(
        self, connection: Connection, found: Sequence[Job], owner: OwnerRecord, done: BatchResult
    ) -> None:
        """Have jobs run again, by whoever may but that owner."""
        detail = f"run again: {owner.name} gave a wrong result elsewhere"
        self._reruns.run_again(connection, found, detail, done, without=owner.name)
