"""`piecework job submit`: one job, or one for each file of a directory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import rich_click as click
from click.exceptions import Exit

from piecework.cli.failures import FAILED, warn
from piecework.cli.options.completing import list_webhooks, offer
from piecework.cli.options.file_limits import FILE_OPTIONS
from piecework.cli.options.job_files import COLLECT_OPTION, FILE_OPTION, INTO_OPTION, read_files
from piecework.cli.options.kinds import (
    FILE_OR_ID,
    GROUP,
    JOB,
    LAMBDA,
    LIMIT_OPTIONS,
    OK_CODE_OPTION,
    TENANT,
    KeyValueType,
    read_rate,
)
from piecework.cli.options.terms import BACKOFF, KINDS, MOMENT, MOMENT_OR_DURATION
from piecework.cli.queue.jobs.job_files import fetch_files
from piecework.cli.queue.jobs.sources import MADE_FILE, SOURCE
from piecework.cli.queue.jobs.waiting import describe_end, describe_going_on, explaining, list_of, telling_why
from piecework.cli.queue.jobs.watching import show_result, watch_job
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.cli.screen.endings import ENDING_COLUMNS, ending
from piecework.cli.screen.progress import counting
from piecework.cli.stock.data import put_file, refuse_piped_input
from piecework.cli.stock.lambdas import LIMIT_NAMES, read_limits
from piecework.client import JobOptions
from piecework.client.queue.jobs.inputs import output_of
from piecework.files import naming
from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, JobInfo, Limits
from piecework.protocol.states import JobState
from piecework.text.durations import DURATION, DURATION_OR_ZERO, RETENTION

F = TypeVar("F", bound=Callable[..., Any])

DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)

RETAIN_HELP = "Remove it so long after its end: 0 (once it was read), 1h, 30d."

TERMS_OPTIONS = (
    click.option("--priority", type=click.IntRange(-100, 100), help="Higher goes first; usually 0."),
    click.option(
        "--delay",
        "delay_s",
        type=DURATION_OR_ZERO,
        metavar="DURATION",
        help="Start it so much later: 90 (seconds), 5m, 1h30m.",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        type=DURATION,
        metavar="DURATION",
        help="Stop an attempt after so long: 90 (seconds), 5m, 1h30m.",
    ),
    click.option("--max-attempts", type=click.IntRange(1, 100), help="Try so many times."),
    click.option(
        "--backoff",
        type=BACKOFF,
        metavar="KIND",
        help="Pause between attempts: exponential[:FIRST[:LONGEST]], fixed:PAUSE or none.",
    ),
    click.option(
        "--retry-on",
        type=KINDS,
        multiple=True,
        metavar="KIND,...",
        help="Try again only after these failures, such as timeout,memory.",
    ),
    OK_CODE_OPTION,
    click.option("--tag", "tags", multiple=True, help="Who may run it: name, +name (needed), -name (refused)."),
    click.option("--arg", "args", multiple=True, help="Replace the lambda's arguments by these."),
    click.option("--env", multiple=True, type=KeyValueType(), help="Set a variable for it."),
    COLLECT_OPTION,
    click.option("--no-memo", is_flag=True, help="Run it, also when the result of an equal job is known."),
    click.option(
        "--tenant", type=TENANT, metavar="NAME", help="On whose behalf: tenants take turns.  [the token's name]"
    ),
    *LIMIT_OPTIONS,
    click.option(
        "--on-end",
        metavar="WEBHOOK",
        help="Tell this webhook how it ends.",
        shell_complete=offer(list_webhooks),
    ),
    click.option("--retain", "retain_s", type=RETENTION, metavar="DURATION|never", help=RETAIN_HELP),
    click.option(
        "--memory", "memory_mb", type=click.IntRange(min=1), metavar="MB", help="Most memory it may use."
    ),
    *FILE_OPTIONS,
)
"""How a job runs, also one that is submitted again and again; ``job_options`` reads them."""
ONCE_OPTIONS = (
    click.option(
        "--at",
        "run_at",
        type=MOMENT,
        metavar="TIME",
        help="Start it then: ISO 8601, local without a zone.",
    ),
    click.option(
        "--expires",
        "expires_at",
        type=MOMENT_OR_DURATION,
        metavar="TIME|DURATION",
        help="Cancel it if it was not started by then.",
    ),
    click.option("--paused", is_flag=True, help="Do not queue it before 'piecework job resume'."),
    click.option("--key", help="Submitting again with the same key and content gives the same job."),
    click.option(
        "--after", multiple=True, metavar="ID", type=JOB, help="Run it once this job, or group, has finished."
    ),
    click.option(
        "--on-failure",
        type=click.Choice(["cancel", "run"]),
        help="What becomes of it when one of those does not finish.  [cancel]",
    ),
    click.option(
        "--file-of",
        "sources",
        multiple=True,
        metavar="NAME=ID",
        type=SOURCE,
        help="Give it what this job produces as the file /inputs/NAME; it waits for that.",
    ),
    FILE_OPTION,
    click.option(
        "--file-from",
        "made_files",
        multiple=True,
        metavar="NAME=ID[:FILE]",
        type=MADE_FILE,
        help="Give it, in its own directory, what this job produces, or its FILE; it waits for that.",
    ),
    click.option("--group", type=GROUP, help="Let it join a group; a name that is new makes one."),
)
"""What is true of one job alone."""


def submission_options(command: F) -> F:
    """Add the options of a submission; ``job_options`` reads them."""
    return add_options(command, TERMS_OPTIONS[:2], ONCE_OPTIONS, TERMS_OPTIONS[2:])


def add_options(command: F, *groups: Sequence[Callable[[F], F]]) -> F:
    """Add options to a command, in their order."""
    for option in reversed([each for group in groups for each in group]):
        command = option(command)
    return command


@click.command
@click.argument("lambda_id", metavar="LAMBDA", type=LAMBDA)
@click.option("--input", "given", metavar="FILE|-|ID", type=FILE_OR_ID, help="Its input.")
@click.option("--input-of", metavar="ID", type=JOB, help="Its input is what this job produces; it waits for that.")
@click.option("--input-dir", metavar="DIR", type=DIRECTORY, help="Submit one job for each file in here.")
@click.option("--wait", is_flag=True, help="Wait for the result and print it.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Wait, and write the output to this file; with --input-dir, outputs to this directory.",
)
@INTO_OPTION
@submission_options
@remote_command
def submit(
    remote: Remote,
    lambda_id: Id | str,
    *,
    given: Path | Id | None,
    input_of: Id | None,
    input_dir: Path | None,
    wait: bool,
    output: Path | None,
    into: Path | None,
    **options: Any,
) -> None:
    """Submit a job and print its id, or wait for it and print its output.

    With --input-dir, one job for each file; prints a table of files and jobs.
    """
    if sum(each is not None for each in (given, input_of, input_dir)) > 1:
        raise click.UsageError("--input, --input-of and --input-dir exclude each other.")
    wait = wait or output is not None or into is not None
    if input_dir is not None:
        if into is not None:
            raise click.UsageError("--into is for one job, not for those of --input-dir.")
        submit_directory(remote, lambda_id, input_dir, wait=wait, output=output, options=job_options(**options))
    else:
        source = given if input_of is None else output_of(input_of)
        read = job_options(**options)
        submit_one(remote, lambda_id, source, wait=wait, output=output, into=into, options=read)


def submit_one(
    remote: Remote,
    lambda_id: Id | str,
    given: Path | Id | Content | None,
    *,
    wait: bool,
    output: Path | None,
    options: JobOptions,
    into: Path | None = None,
) -> None:
    """Submit one job; print its id, or wait for it and show its output, and fetch its files."""
    if given is None:
        refuse_piped_input()
    remote.if_interrupted = "no job was submitted"
    value = put_file(remote.client, given).id if isinstance(given, Path) else given
    remote.if_interrupted = f"the job may have been submitted: {list_of(lambda_id)} shows it then"
    job = remote.client.submit(lambda_id, value, **options)
    remote.if_interrupted = describe_going_on([job])
    if wait:
        result = watch_job(remote.patient_client, job)
        remote.if_interrupted = describe_end(job)
        show_result(remote, result, output)
        if into is not None:
            fetch_files(remote, job, into)
    elif remote.display.as_json:
        remote.display.document({"id": str(job)})
    else:
        remote.display.line(job)


@dataclass
class FileJob:
    """The job of one file."""

    file: Path
    id: Id
    info: JobInfo | None = None
    """How it ended; None when nobody waited for it."""

    @property
    def failed(self) -> bool:
        return self.info is not None and self.info.state is not JobState.FINISHED


def submit_directory(
    remote: Remote, lambda_id: Id | str, directory: Path, *, wait: bool, output: Path | None, options: JobOptions
) -> None:
    """Submit one job for each file of a directory; wait for them if asked to. Exits 1 when one failed."""
    files = sorted(path for path in directory.iterdir() if path.is_file())
    if not files:
        raise click.UsageError(f"there are no files in {directory}.")
    if output is not None and output.resolve() == directory.resolve():
        raise click.UsageError("--output would overwrite the inputs: name another directory.")
    shows = f"{list_of(lambda_id)} shows them"
    remote.if_interrupted = f"some of the {len(files):,} jobs may have been submitted: {shows}"
    with counting("submitting", len(files)) as advance:
        ids = remote.client.submit_many(lambda_id, _ticking(files, advance), **options)
    remote.if_interrupted = f"its {len(ids):,} jobs are submitted: {shows}"
    jobs: dict[Id, FileJob] = {job: FileJob(file, job) for file, job in zip(files, ids, strict=True)}
    if wait:
        with explaining(lambda: describe_going_on(_left(jobs))):
            _collect(remote, jobs, output)
    _show_jobs(remote, list(jobs.values()))
    if any(job.failed for job in jobs.values()):
        raise Exit(FAILED)


def job_options(
    *,
    tags: tuple[str, ...],
    args: tuple[str, ...],
    env: tuple[tuple[str, str], ...],
    retry_on: tuple[list[ErrorKind], ...],
    ok_codes: tuple[int, ...] = (),
    paused: bool = False,
    no_memo: bool = False,
    after: tuple[Id, ...] = (),
    sources: tuple[tuple[str, Id], ...] = (),
    given_files: tuple[tuple[tuple[str, Path], ...], ...] = (),
    made_files: tuple[tuple[str, Id, str | None], ...] = (),
    patterns: tuple[str, ...] = (),
    **others: Any,
) -> JobOptions:
    """Turn a command's options into a submission's; those not given are left out.

    Says on stderr which moments were understood. Raises click.UsageError for an end that has passed.
    """
    options = read_rate({name: value for name, value in others.items() if value is not None})
    limits = read_limits(**{name: options.pop(name, None) for name in LIMIT_NAMES})
    _check_moments(options)
    if paused:
        options["status"] = "paused"
    if no_memo:
        options["memo"] = False
    if "group" in options:
        options["group"] = str(options["group"])
    several = {
        "retry_on": list(dict.fromkeys(kind for kinds in retry_on for kind in kinds)),
        "ok_codes": list(ok_codes),
        "after": [str(each) for each in after],
        "files": read_files(given_files) | {name: output_of(job, file) for name, job, file in made_files},
        "outputs": list(patterns),
        "files_of": {name: str(job) for name, job in sources},
        "tags": list(tags),
        "args": list(args),
        "env": dict(env),
    }
    options |= {name: values for name, values in several.items() if values}
    if limits != Limits():
        options["limits"] = limits
    return cast("JobOptions", options)


def _check_moments(options: dict[str, Any]) -> None:
    for name, what in (("run_at", "starts"), ("expires_at", "expires")):
        if (moment := options.get(name)) is not None:
            if name == "expires_at" and moment <= datetime.now(UTC):
                raise click.UsageError(f"--expires is {moment.isoformat(sep=' ')}, which has passed.")
            warn(f"it {what} at {moment.isoformat(sep=' ', timespec='seconds')}")


def _collect(remote: Remote, jobs: dict[Id, FileJob], output: Path | None) -> None:
    """Wait for all jobs and note how each ended; write what they produced to the output directory."""
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    client = remote.patient_client
    with counting("running", len(jobs)) as advance, telling_why(client, lambda: next(iter(_left(jobs)), None)):
        if output is None:
            for info in client.ended(jobs):
                jobs[info.id].info = info
                advance()
            return
        for job, result in client.results(jobs):
            jobs[job].info = result.without_output()
            if result.ok:
                with naming(output / jobs[job].file.name) as path:
                    path.write_bytes(result.output)
            advance()


def _left(jobs: dict[Id, FileJob]) -> list[Id]:
    """Return the jobs of which no end is known."""
    return [job.id for job in jobs.values() if job.info is None]


def _show_jobs(remote: Remote, jobs: list[FileJob]) -> None:
    if remote.display.as_json:
        remote.display.document([_document(job) for job in jobs])
    elif all(job.info is None for job in jobs):
        remote.display.table(["id", "file"], [(job.id, job.file) for job in jobs])
    else:
        rows = [(job.id, job.file, *ending(job.info)) for job in jobs if job.info is not None]
        remote.display.table(["id", "file", *ENDING_COLUMNS], rows)


def _document(job: FileJob) -> dict[str, Any]:
    ended = {} if job.info is None else to_document(job.info)
    return ended | {"id": str(job.id), "file": str(job.file)}


def _ticking(files: Iterable[Path], advance: Callable[[], None]) -> Iterator[Path]:
    for file in files:
        yield file
        advance()
