"""Telling why a job waits while a command waits for it, and what becomes of it on Ctrl-C."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import rich_click as click

from piecework.cli.failures import Interruption, warn
from piecework.client import Client, ClientError, StillRunning
from piecework.protocol.ids import Id
from piecework.protocol.messages import JobInfo
from piecework.protocol.states import JobState

FIRST_S = 3.0
"""Who waits for less is told nothing."""
AGAIN_S = 5.0
"""The server is asked again after so long."""
SAME_S = 60.0
"""A reason whose numbers alone have changed is told again after so long."""
TICK_S = 1.0
LOOK_S = 5.0
"""How long the last look at jobs may take."""


class WaitNotes:
    """Asks now and then why a job waits, and tells it when that is news."""

    def __init__(
        self, client: Client, find_job: Callable[[], Id | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``find_job`` gives the job that is waited for now; None: there is none."""
        self._client = client
        self._find_job = find_job
        self._clock = clock
        self._job: Id | None = None
        self._ask_at = 0.0
        self._told: tuple[object, object] | None = None
        """The reason that was told last, and its text."""
        self._told_at = 0.0

    def tick(self) -> None:
        """Ask and tell if it is time to."""
        now, job = self._clock(), self._find_job()
        if job != self._job:
            self._job, self._ask_at = job, now + FIRST_S
        elif job is not None and now >= self._ask_at:
            self._ask_at = now + AGAIN_S
            with suppress(ClientError):  # who waits learns of it by itself
                self._tell(self._client.job(job), now)

    def _tell(self, info: JobInfo, now: float) -> None:
        if not info.advice:
            if self._told is not None and info.state is JobState.RUNNING:
                warn(f"job {info.id} runs now, on worker {info.worker}")
            self._told = None
            return
        told = (info.waits_for, info.advice)
        is_news = self._told is None or self._told[0] != told[0]
        if is_news or (told != self._told and now >= self._told_at + SAME_S):
            self._told, self._told_at = told, now
            warn(f"job {info.id} waits: {info.advice}")


@contextmanager
def telling_why(client: Client, find_job: Callable[[], Id | None]) -> Iterator[None]:
    """Tell on stderr, in a thread of its own, why the job waits that ``find_job`` gives, until the block ends."""
    notes, over = WaitNotes(client, find_job), threading.Event()

    def look() -> None:
        while not over.wait(TICK_S):
            notes.tick()

    threading.Thread(target=look, name="wait notes", daemon=True).start()
    try:
        yield
    finally:
        over.set()


@contextmanager
def explaining(describe: Callable[[], str]) -> Iterator[None]:
    """On Ctrl-C in the block, let the command's last line say what ``describe`` says became of its jobs."""
    try:
        yield
    except KeyboardInterrupt as error:
        if sys.stderr.isatty():
            click.echo(err=True)  # the terminal has written ^C
        try:
            text = describe()
        except ClientError as failure:
            text = f"what became of its jobs is not known: {failure}"
        except KeyboardInterrupt:
            text = "what became of its jobs is not known"
        raise Interruption(text) from error


def list_of(lambda_id: Id | str) -> str:
    """Return the command that shows a lambda's jobs."""
    return f"'piecework job list --lambda {lambda_id}'"


def describe_end(job: Id) -> str:
    """Say where a job's output is that was not shown."""
    return f"job {job} has ended: 'piecework job output {job}' shows what it produced"


def describe_going_on(jobs: Sequence[Id]) -> str:
    """Say that jobs go on, and how to look after them."""
    if not jobs:
        return "all of its jobs have ended"
    if len(jobs) == 1:
        look, end = f"'piecework job wait {jobs[0]}' waits for it", f"'piecework job cancel {jobs[0]}' ends it"
        return f"job {jobs[0]} goes on: {look}, {end}"
    return f"{len(jobs):,} jobs go on: 'piecework job list' shows them"


def describe_ends(client: Client, jobs: Sequence[Id]) -> str:
    """Ask the server what became of jobs that were to be cancelled, and say so."""
    ends: Counter[JobState] = Counter()
    left: Sequence[Id] = ()
    try:
        ends.update(info.state for info in client.ended(jobs, LOOK_S))
    except StillRunning as error:
        left = error.unfinished
    cancelled = ends.pop(JobState.CANCELLED, 0)
    if len(jobs) == 1 and not left:
        return f"job {jobs[0]} {'was cancelled' if cancelled else 'had ended'}"
    parts = [f"{cancelled:,} of its {len(jobs):,} jobs were cancelled"] if len(jobs) > 1 else []
    if ended := ends.total():
        parts.append(f"{ended:,} had ended")
    return "; ".join([*parts, *([describe_going_on(left)] if left else [])])


def cancel_left(client: Client, job: Id) -> str:
    """Cancel a job whose command ends, and say what became of it."""
    try:
        client.cancel(job)
    except ClientError as error:
        return f"job {job} was not cancelled: {error}"
    return describe_ends(client, [job])
