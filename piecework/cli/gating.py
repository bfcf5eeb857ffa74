"""Running gates: each of an old lambda's recorded calls is put into a bundle, and replayed against new code."""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import rich_click as click
from msgspec import UnsetType

from piecework.cli.screen.figures import format_bytes
from piecework.client import Client, NotFound
from piecework.protocol.bodies import decode
from piecework.protocol.ids import Id
from piecework.protocol.messages import GateEvidence, JobInfo, LambdaInfo, given
from piecework.receipts.bundle import Bundle
from piecework.receipts.errors import ReceiptError
from piecework.receipts.gates import GateBounds, GateRun, find_rise, sum_runs
from piecework.receipts.payload import RECEIPT_STATES

LAST = 200
POLICIES = ("identical", "same-status", "report")
NO_RECORDS = 3
"""What a command ends with when there are no records to go by."""
LOOK_FACTOR, LOOK_MIN = 5, 1000
"""So many jobs are looked at for each with a receipt that is wanted, and so many at least."""
_PROGRAM = (sys.executable, "-P", "-c", "from piecework.worker_agent.cli import main; main()", "gate")


class NoRecords(click.ClickException):
    """There is nothing to replay; the message says what to do."""

    exit_code = NO_RECORDS


class Candidate(NamedTuple):
    """The code that is to take an old lambda's place."""

    file: Path
    runtime: str


class GateOptions(NamedTuple):
    """How a gate is run."""

    bounds: GateBounds = GateBounds()
    last: int = LAST
    engine: str | None = None
    timeout_s: float | None = None


class Replayer:
    """The program that replays, while it runs."""

    def __init__(self, process: "subprocess.Popen[str]", complaints: IO[str]) -> None:
        """``complaints`` is the file to which its standard error goes."""
        self._process, self._complaints = process, complaints

    def ask(self, bundle: Path, job: JobInfo) -> GateRun:
        """Have a bundle of a job replayed. Raises click.ClickException when the program cannot."""
        usage = given(job.usage)
        memory = "" if usage is None or usage.memory_bytes is None else str(usage.memory_bytes)
        questions, answers = self._process.stdin, self._process.stdout
        assert questions is not None
        assert answers is not None
        try:
            questions.write(f"{bundle}\t{memory}\n")
            questions.flush()
            answer = answers.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._process.wait()
            self._complaints.seek(0)
            said = self._complaints.read().strip().removeprefix("worker-agent: ")
            raise click.ClickException(said or "the program that replays ended without a word.")
        return decode(answer.encode(), GateRun)


def run_gate(client: Client, old: LambdaInfo, new: Candidate, options: GateOptions) -> GateEvidence:
    """Replay the newest recorded calls of a lambda against new code, on this machine, with nothing granted.

    Raises NoRecords, and click.ClickException when the new code cannot be run.
    """
    if not (old.deterministic is True or old.record is True):
        raise NoRecords(f"lambda {old.id} keeps no records to go by. {_advise(old)}")
    with tempfile.TemporaryDirectory(prefix="piecework-gate-") as name, _start(new, options) as replayer:
        folder = Path(name)
        runs = list(_replay_all(client, old, replayer, folder, options.last))
    if not runs:
        raise NoRecords(f"lambda {old.id} has no ended job with a receipt yet. {_advise(old)}")
    with new.file.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    evidence = sum_runs(old.id, checksum, new.runtime, runs, options.bounds)
    if not evidence.compared:
        said = next((run.message for run in runs if run.message), "")
        raise NoRecords(f"none of the {len(runs)} calls of lambda {old.id} could be compared: {said}")
    return evidence


def _advise(old: LambdaInfo) -> str:
    if old.deterministic is True or old.record is True:
        return "Let it do some jobs first."
    return (
        "Create it anew with --record, or with --deterministic when it needs nothing from outside, "
        "let it do some jobs, and come back."
    )


@contextmanager
def _start(new: Candidate, options: GateOptions) -> Iterator["Replayer"]:
    """Run the program that replays while the block runs. Raises OSError."""
    words = ["--runtime", new.runtime]
    words += [] if options.engine is None else ["--engine", options.engine]
    words += [] if options.timeout_s is None else ["--timeout", f"{options.timeout_s:g}"]
    command = [*_PROGRAM, *words, "--", str(new.file)]
    with (
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(  # noqa: S603  # ours
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True
        ) as process,
    ):
        try:
            yield Replayer(process, complaints)
        except BaseException:
            process.kill()
            raise


def _replay_all(
    client: Client, old: LambdaInfo, replayer: "Replayer", folder: Path, last: int
) -> Iterator[GateRun]:
    """Yield what came of each call, the newest first."""
    have: dict[str, Path] = {}
    found = 0
    for job in _list_ended(client, old.id, max(LOOK_MIN, LOOK_FACTOR * last)):
        if found >= last:
            return
        path = folder / "bundle"
        try:
            client.bundle(job.id, path, have=have)
        except NotFound:
            continue  # it has no receipt
        except ReceiptError as error:
            found += 1
            yield GateRun(job=job.id, kind="skipped", message=str(error))
            continue
        found += 1
        if not have:
            have = _keep_code(path, folder)
        yield replayer.ask(path, job)
        path.unlink()


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


def describe_evidence(found: GateEvidence) -> dict[str, object]:
    """Return what came of a gate as fields to show."""
    return {
        "gate": f"{'passed' if found.passed else 'not passed'} ({found.policy})",
        "why": "; ".join(found.why) or None,
        "calls of": found.old,
        "compared": found.compared,
        "identical": found.identical,
        "ask the outside for something else": found.calls or None,
        "fail now, or otherwise": found.failures or None,
        "fail no more": found.recoveries or None,
        "other exit code": found.exit_codes or None,
        "other output": found.outputs or None,
        "other files": found.files or None,
        "nothing follows": found.unclear or None,
        "not replayed": found.skipped or None,
        "fuel": _describe_change(given(found.fuel_then), given(found.fuel_now), "{:,}".format),
        "memory": _describe_change(given(found.memory_then), given(found.memory_now), format_bytes),
        "under": found.engine,
        **list_findings(found),
    }


def list_findings(found: GateEvidence | UnsetType) -> dict[str, str]:
    """Return the findings as fields to show."""
    if isinstance(found, UnsetType):
        return {}
    return {f"job {each.job}": f"{each.kind}: {each.message}" for each in found.findings}


def summarize(found: GateEvidence) -> str:
    """Say in a line what came of a gate."""
    passed = "passed" if found.passed else f"not passed ({'; '.join(found.why)})"
    return f"{passed}: {found.identical} of {found.compared} calls of lambda {found.old} came to the same"


def _describe_change(then: int | None, now: int | None, show: Callable[[int], str]) -> str | None:
    if then is None or now is None:
        return None
    return f"{find_rise(then, now):+.1f} % ({show(then)} then, {show(now)} now)"
