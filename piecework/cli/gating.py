"""Running gates: an old one's recorded calls are brought here, and replayed against new code."""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, NamedTuple, Self

import rich_click as click

from piecework.client import Client, NotFound
from piecework.protocol.bodies import decode, encode
from piecework.protocol.ids import Id
from piecework.protocol.messages import GateEvidence, JobInfo, LambdaInfo, given
from piecework.receipts.bundle import Bundle
from piecework.receipts.errors import ReceiptError
from piecework.receipts.gates import GateBounds, GateQuestion, GateRun, sum_runs
from piecework.receipts.payload import RECEIPT_STATES

LAST, LAST_MAX = 200, 10_000
POLICIES = ("identical", "same-status", "report")
NO_RECORDS = 3
"""What a command ends with when there are no records to go by."""
LOOK_FACTOR, LOOK_MIN = 5, 1000
"""So many jobs are looked at for each with a receipt that is wanted, and so many at least."""
PROCESSES = min(os.cpu_count() or 1, 4)
_PROGRAM = (sys.executable, "-P", "-c", "from piecework.worker_agent.cli import main; main()", "gate")
Calls = Iterator[GateQuestion | GateRun]
"""What is to be replayed, the newest first; and what cannot be."""


class NoRecords(click.ClickException):
    """There is nothing to replay; the message says what to do."""

    exit_code = NO_RECORDS


class Candidate(NamedTuple):
    """The code that is to take an old one's place."""

    file: Path
    runtime: str


class OldCode(NamedTuple):
    """What new code is compared with."""

    lambda_id: Id
    bring: Callable[[Path, int], Calls]
    """Puts so many recorded calls into a folder, one after the other. It may raise NoRecords."""
    advice: str
    """What to do when there are none."""
    function: str | None = None
    """``function/revision`` when it is one; None: the calls are jobs."""

    def __str__(self) -> str:
        return self.function or f"lambda {self.lambda_id}"


class GateOptions(NamedTuple):
    """How a gate is run."""

    bounds: GateBounds = GateBounds()
    last: int = LAST
    engine: str | None = None
    timeout_s: float | None = None
    processes: int = PROCESSES


class Replayer:
    """The program that replays, while it runs."""

    def __init__(self, process: "subprocess.Popen[bytes]", complaints: IO[str]) -> None:
        """``complaints`` is the file to which its standard error goes."""
        self._process, self._complaints = process, complaints

    def ask(self, question: GateQuestion) -> GateRun:
        """Have a call replayed. Raises click.ClickException when the program cannot."""
        questions, answers = self._process.stdin, self._process.stdout
        assert questions is not None
        assert answers is not None
        try:
            questions.write(encode(question) + b"\n")
            questions.flush()
            answer = answers.readline()
        except BrokenPipeError:
            answer = b""
        if not answer:
            self._process.wait()
            self._complaints.seek(0)
            said = self._complaints.read().strip().removeprefix("worker-agent: ")
            raise click.ClickException(said or "the program that replays ended without a word.")
        return decode(answer, GateRun)


class Replayers:
    """Some programs that replay, each a call at a time. Use it with ``with``.

    The first call is waited for: it has the new code compiled, for all.
    """

    def __init__(self, new: Candidate, options: GateOptions) -> None:
        self._new, self._options = new, options
        self._idle: SimpleQueue[Replayer] = SimpleQueue()
        self._started = 0

    def __enter__(self) -> Self:
        self._exits = ExitStack()
        self._pool = self._exits.enter_context(ThreadPoolExecutor(self._options.processes))
        return self

    def __exit__(self, *exception: object) -> None:
        self._exits.__exit__(*exception)  # type: ignore[arg-type]

    def replay(self, calls: Calls) -> list[GateRun]:
        """Have calls replayed; returns what came of each, in their order. Raises click.ClickException."""
        found: list[GateRun | Future[GateRun]] = []
        for call in calls:
            if isinstance(call, GateRun):
                found.append(call)
                continue
            is_first = not self._started
            begun = self._pool.submit(self._ask, self._take(), call)
            found.append(begun.result() if is_first else begun)
        return [each.result() if isinstance(each, Future) else each for each in found]

    def _take(self) -> Replayer:
        """Return a program that has nothing to do: another one while there may be more, else when one is done."""
        try:
            return self._idle.get_nowait()
        except Empty:
            if self._started == self._options.processes:
                return self._idle.get()
        self._started += 1
        return self._exits.enter_context(_start(self._new, self._options))

    def _ask(self, replayer: Replayer, question: GateQuestion) -> GateRun:
        try:
            return replayer.ask(question)
        finally:
            self._idle.put(replayer)
            Path(question.path).unlink()


def run_gate(old: OldCode, new: Candidate, options: GateOptions) -> GateEvidence:
    """Replay the newest recorded calls of old code against new code, on this machine, with nothing granted.

    Raises NoRecords, and click.ClickException when the new code cannot be run.
    """
    with tempfile.TemporaryDirectory(prefix="piecework-gate-") as folder, Replayers(new, options) as replayers:
        runs = replayers.replay(old.bring(Path(folder), options.last))
    if not runs:
        raise NoRecords(old.advice)
    with new.file.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    evidence = sum_runs(old.lambda_id, checksum, new.runtime, runs, options.bounds, old.function)
    if not evidence.compared:
        said = next((run.message for run in runs if run.message), "")
        raise NoRecords(f"none of the {len(runs)} calls of {old} could be compared: {said}")
    return evidence


def find_jobs(client: Client, old: LambdaInfo, env: Mapping[str, str] | None = None) -> OldCode:
    """Return a lambda whose jobs are to be replayed. Raises NoRecords when no receipts of these are kept.

    ``env``: variables of the jobs whose values the server hides.
    """
    if not (old.deterministic is True or old.record is True):
        raise NoRecords(
            f"lambda {old.id} keeps no records to go by. Create it anew with --record, or with --deterministic "
            "when it needs nothing from outside, let it do some jobs, and come back."
        )

    def bring(folder: Path, last: int) -> Calls:
        return _bring_jobs(client, old.id, folder, last, env)

    return OldCode(
        old.id, bring, f"lambda {old.id} has no ended job with a receipt yet. Let it do some jobs first."
    )


@contextmanager
def _start(new: Candidate, options: GateOptions) -> Iterator[Replayer]:
    """Run the program that replays while the block runs. Raises OSError."""
    words = ["--runtime", new.runtime]
    words += [] if options.engine is None else ["--engine", options.engine]
    words += [] if options.timeout_s is None else ["--timeout", f"{options.timeout_s:g}"]
    command = [*_PROGRAM, *words, "--", str(new.file)]
    with (
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(  # noqa: S603  # ours
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
        ) as process,
    ):
        try:
            yield Replayer(process, complaints)
        except BaseException:
            process.kill()
            raise


def _bring_jobs(client: Client, lambda_id: Id, folder: Path, last: int, env: Mapping[str, str] | None) -> Calls:
    have: dict[str, Path] = {}
    found = 0
    for job in _list_ended(client, lambda_id, max(LOOK_MIN, LOOK_FACTOR * last)):
        if found >= last:
            return
        path = folder / str(int(job.id))
        try:
            client.bundle(job.id, path, have=have, env=env)
        except NotFound:
            continue  # it has no receipt
        except ReceiptError as error:
            found += 1
            yield GateRun(job=job.id, kind="skipped", message=str(error))
            continue
        found += 1
        if not have:
            have = _keep_code(path, folder)
        usage = given(job.usage)
        yield GateQuestion(job=job.id, path=str(path), memory_then=usage.memory_bytes if usage else None)


def _list_ended(client: Client, lambda_id: Id, most: int) -> Iterator[JobInfo]:
    """Go through the jobs of a lambda that ended in a way of which there are receipts, the newest first."""
    for job in client.jobs(lambda_=lambda_id, limit=most):
        if job.state in RECEIPT_STATES:
            yield job


def _keep_code(bundle: Path, folder: Path) -> dict[str, Path]:
    """Keep the old code: each further bundle has it, too."""
    with Bundle(bundle) as opened:
        digest = opened.payload.claim.subject.module
        opened.copy(digest, folder / "code")
    return {digest: folder / "code"}
