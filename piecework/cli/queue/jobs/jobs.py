"""`piecework job`: look at jobs, wait for them, read what they produced; more is in the modules beside."""

import time
from collections.abc import Sequence
from typing import Any

import rich_click as click
from click.exceptions import Exit

from piecework.cli.failures import FAILED
from piecework.cli.options.kinds import JOB
from piecework.cli.queue.jobs import bulk
from piecework.cli.queue.jobs.events import watch
from piecework.cli.queue.jobs.failures import list_failures
from piecework.cli.queue.jobs.mapping import map_
from piecework.cli.queue.jobs.outputs import output
from piecework.cli.queue.jobs.selecting import selection_options, take_selection
from piecework.cli.queue.jobs.submit import submit
from piecework.cli.queue.jobs.waiting import describe_going_on, explaining, telling_why
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document, write_text
from piecework.cli.screen.endings import ENDING_COLUMNS, ending
from piecework.cli.screen.figures import format_age, format_moment
from piecework.cli.screen.job_rows import describe_job, name_lambda
from piecework.cli.screen.progress import counting
from piecework.cli.screen.rests import tell_rest
from piecework.cli.screen.tables import Brief
from piecework.protocol.ids import Id
from piecework.protocol.messages import JobInfo, JobLogs, TraceEvent
from piecework.protocol.states import JobState
from piecework.text.durations import DURATION_OR_ZERO

LOCAL_CHARS = 19
"""Of a moment, without parts of seconds and offset."""
LEASE_CHARS = 6
"""Of a fencing token, to tell it from others."""


@click.group
def job() -> None:
    """Submit jobs, look at them, wait for them, cancel them, run them again."""


job.add_command(submit)
job.add_command(map_)
job.add_command(watch)
job.add_command(output)
for command in (bulk.cancel, bulk.pause, bulk.resume, bulk.retry, bulk.delete, bulk.undo):
    job.add_command(command)


@job.command("list")
@click.option("--failed", is_flag=True, help="Count failed jobs that were not run again, by lambda and reason.")
@selection_options
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Show so many at most.")
@remote_command
def list_(remote: Remote, failed: bool, limit: int, **options: Any) -> None:
    """List jobs, newest first."""
    which = take_selection(options)
    if failed:
        list_failures(remote, which, limit)
        return
    found = list(remote.client.jobs(**which, limit=limit + 1, why=True))
    if len(found) > limit:
        tell_rest(limit, remote.client.count_jobs(**which))
    found = found[:limit]
    now = time.time()
    rows = (
        (each.id, name_lambda(each), each.lambda_.runtime, format_age(each.created_at, now), *ending(each, now))
        for each in found
    )
    columns = ["id", "lambda", "runtime", "created", *ENDING_COLUMNS]
    remote.display.listing(found, columns, rows, less=["runtime"])


@job.command
@click.argument("job_id", metavar="ID", type=JOB)
@remote_command
def show(remote: Remote, job_id: Id) -> None:
    """Show everything about a job."""
    info = remote.client.job(job_id)
    if remote.display.as_json:
        remote.display.document(to_document(info))
    else:
        remote.display.fields(describe_job(info, time.time()))


@job.command
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True, type=JOB)
@click.option("--timeout", "timeout_s", type=DURATION_OR_ZERO, metavar="DURATION", help="Wait no longer.")
@remote_command
def wait(remote: Remote, job_ids: Sequence[Id], timeout_s: float | None) -> None:
    """Wait until jobs have ended; exit code 1 when one of them failed."""
    wanted = list(dict.fromkeys(job_ids))
    ended: dict[Id, JobInfo] = {}

    def left() -> list[Id]:
        return [each for each in wanted if each not in ended]

    try:
        with (
            counting("waiting", len(wanted)) as advance,
            telling_why(remote.client, lambda: next(iter(left()), None)),
            explaining(lambda: describe_going_on(left())),
        ):
            for info in remote.patient_client.ended(wanted, timeout_s):
                ended[info.id] = info
                advance()
    finally:
        if ended or remote.display.as_json:
            _show_ended(remote, [ended[each] for each in wanted if each in ended])
    if any(info.state is not JobState.FINISHED for info in ended.values()):
        raise Exit(FAILED)


@job.command
@click.argument("job_id", metavar="ID", type=JOB)
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Of this attempt, not the latest.")
@click.option("--all", "of_all", is_flag=True, help="Of every attempt, as far as logs are kept.")
@remote_command
def log(remote: Remote, job_id: Id, *, follow: bool, attempt: int | None, of_all: bool) -> None:
    """Print what a job logged so far in its latest attempt, or in others."""
    if follow + of_all + (attempt is not None) > 1:
        raise click.UsageError("--follow, --attempt and --all exclude each other.")
    if of_all:
        _show_logs(remote, remote.client.logs(job_id))
        return
    if not follow:
        part = remote.client.log(job_id) if attempt is None else remote.client.attempt_log(job_id, attempt)
        if remote.display.as_json:
            remote.display.document(to_document(part))
        else:
            write_text(part.text)
        return
    if remote.display.as_json:
        raise click.UsageError("--json and --follow exclude each other.")
    client = remote.patient_client
    with telling_why(client, lambda: job_id), explaining(lambda: describe_going_on([job_id])):
        for text in client.follow_log(job_id):
            write_text(text)


def _show_logs(remote: Remote, found: JobLogs) -> None:
    """Print the logs of attempts, each under a line that says whose it is."""
    if remote.display.as_json:
        remote.display.document(to_document(found))
        return
    for each in found.logs:
        dropped = f" without its first {each.offset:,} bytes" if each.offset else ""
        remote.display.line(f"--- attempt {each.attempt} of {found.attempts}{dropped}")
        write_text(each.text if each.text.endswith("\n") else f"{each.text}\n")


@job.command
@click.argument("job_id", metavar="ID", type=JOB)
@remote_command
def trace(remote: Remote, job_id: Id) -> None:
    """Print the steps of a job's life, oldest first."""
    events = remote.client.trace(job_id)
    rows = [
        (_format_step(event.at), event.state, event.attempt or "", event.worker, _brief_lease(event), event.detail)
        for event in events
    ]
    remote.display.listing(events, ["at", "state", "attempt", "worker", "lease", "detail"], rows)


def _format_step(at: float) -> Brief:
    moment = format_moment(at)
    return Brief(moment, moment[:LOCAL_CHARS])


def _brief_lease(event: TraceEvent) -> Brief:
    lease = event.lease or ""
    return Brief(lease, lease[:LEASE_CHARS])


def _show_ended(remote: Remote, jobs: list[JobInfo]) -> None:
    remote.display.listing(jobs, ["id", *ENDING_COLUMNS], ((each.id, *ending(each)) for each in jobs))
