"""The ends of jobs: the one place through which every way of becoming final passes.

A job ends with an outcome, a cancellation, its expiry, vanished workers, or because of another one's end. Whoever
ends jobs says so here, inside the transaction that does it: what depends on them reacts before it is committed.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from piecework.protocol.states import JobState
from piecework.server.services.queue.waiting.waiting import Changes
from piecework.server.store.engine.database import Connection
from piecework.server.store.records import Job


class Ended(NamedTuple):
    """A job that this transaction made final."""

    job: Job
    """As it was just before."""
    state: JobState
    """The final state that it is in now."""
    kind: str = ""
    """Why it failed: an ErrorKind."""
    ran_ms: int | None = None
    """How long its last attempt took, as far as its worker told."""


Reaction = Callable[[Connection, Sequence[Ended], Changes, int], Sequence[Ended]]
"""Lets something react to the ends of jobs, inside their transaction: it is given those that ended, takes down in
``Changes`` what it changes, is told the time, and returns the jobs that it made final itself. A transaction may
run again, so it has no effect but on the connection and on ``Changes``. What may be more work than a few rows for
each job is left to a chore.
"""


Reversal = Callable[[Connection, Sequence[Job], Changes, int], None]
"""Does the opposite, with jobs that were final, as they were then, and are to be run again under the same id."""


class Endings:
    """Passes on which jobs became final, and which of them are so no more."""

    def __init__(self) -> None:
        self.reactions: list[Reaction] = []
        self.reversals: list[Reversal] = []

    def pass_on(self, connection: Connection, ended: Sequence[Ended], changes: Changes, now: int) -> None:
        """Have everything react to jobs that this transaction made final, and to those that end because of it."""
        while ended:
            further: list[Ended] = []
            for react in self.reactions:
                further += react(connection, ended, changes, now)
            ended = further

    def take_back(self, connection: Connection, again: Sequence[Job], changes: Changes, now: int) -> None:
        """Have everything react to final jobs that this transaction lets run again."""
        if again:
            for undo in self.reversals:
                undo(connection, again, changes, now)
