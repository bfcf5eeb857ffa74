"""`piecework job`: look at jobs, wait for them, read what they produced, cancel them."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click
from click.exceptions import Exit
from msgspec import UnsetType

from piecework.cli.failures import FAILED
from piecework.cli.options import JOB, LAMBDA, STATE, WORKER
from piecework.cli.queue.mapping import map_
from piecework.cli.queue.submit import submit
from piecework.cli.queue.waiting import describe_going_on, explaining, telling_why
from piecework.cli.queue.watching import output_document
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document, write_text
from piecework.cli.screen.endings import ENDING_COLUMNS, ending, reason, took
from piecework.cli.screen.figures import format_age, format_bytes, format_duration, format_moment
from piecework.cli.screen.progress import counting
from piecework.cli.screen.rests import tell_rest
from piecework.cli.screen.tables import Brief
from piecework.cli.stock.data import get_blob
from piecework.client.queue.results import failure
from piecework.durations import DURATION_OR_ZERO
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, Digests, JobInfo, JobUpdate, TraceEvent, Usage, blob_id
from piecework.protocol.states import JobState

LOCAL_CHARS = 19
"""Of a moment, without parts of seconds and offset."""
LEASE_CHARS = 6
"""Of a fencing token, to tell it from others."""


@click.group
def job() -> None:
    """Submit jobs, look at them, wait for them, cancel them."""


job.add_command(submit)
job.add_command(map_)


@job.command("list")
@click.option("--state", type=STATE, help="Only jobs in this state, such as enqueued or Fail_Execution.")
@click.option("--lambda", "lambda_id", type=LAMBDA, help="Only jobs of this lambda.")
@click.option("--tag", help="Only jobs with this tag.")
@click.option("--worker", "worker_id", type=WORKER, help="Only jobs that this worker runs, or ran last.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Show so many at most.")
@remote_command
def list_(remote: Remote, lambda_id: Id | None, worker_id: Id | None, limit: int, **options: Any) -> None:
    """List jobs, newest first."""
    which = {"lambda_": lambda_id, "worker": worker_id, **options}
    found = list(remote.client.jobs(**which, limit=limit + 1))
    if len(found) > limit:
        tell_rest(limit, remote.client.count_jobs(**which))
    found = found[:limit]
    now = time.time()
    rows = (
        (each.id, each.lambda_.id, each.lambda_.runtime, format_age(each.created_at, now), *ending(each))
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
        remote.display.fields(_fields(info))


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
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file.")
@remote_command
def output(remote: Remote, job_id: Id, output: Path | None) -> None:
    """Print what a job produced; fails when it has not finished."""
    info = remote.client.job(job_id)
    if not info.state.is_final:
        raise click.ClickException(f"job {job_id} is {info.state}: see 'piecework job wait {job_id}'.")
    if info.state is not JobState.FINISHED:
        raise failure(info)
    blob = blob_id(info.output) if isinstance(info.output, Content) else None
    if remote.display.as_json:
        remote.display.document(output_document(info, remote.client.read(blob) if blob else b""))
    elif blob:
        get_blob(remote, blob, output)
    elif output:
        output.write_bytes(b"")


@job.command
@click.argument("job_id", metavar="ID", type=JOB)
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@remote_command
def log(remote: Remote, job_id: Id, follow: bool) -> None:
    """Print what a job logged so far."""
    if not follow:
        part = remote.client.log(job_id)
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


@job.command
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True, type=JOB)
@remote_command
def cancel(remote: Remote, job_ids: Sequence[Id]) -> None:
    """Cancel jobs; a running one is stopped within seconds."""
    remote.apply_to_all(job_ids, remote.client.cancel, "cancelled")


def _format_step(at: float) -> Brief:
    moment = format_moment(at)
    return Brief(moment, moment[:LOCAL_CHARS])


def _brief_lease(event: TraceEvent) -> Brief:
    lease = event.lease or ""
    return Brief(lease, lease[:LEASE_CHARS])


@job.command
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True, type=JOB)
@remote_command
def pause(remote: Remote, job_ids: Sequence[Id]) -> None:
    """Keep jobs that nobody runs yet out of the queue until they are resumed."""
    remote.apply_to_all(job_ids, partial(_steer, remote, "paused"), "paused")


@job.command
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True, type=JOB)
@remote_command
def resume(remote: Remote, job_ids: Sequence[Id]) -> None:
    """Let paused jobs into the queue, also those submitted with --paused."""
    remote.apply_to_all(job_ids, partial(_steer, remote, "enqueued"), "resumed")


def _steer(remote: Remote, state: str, job_id: Id) -> str:
    return remote.client.update_job(job_id, JobUpdate(status=state))


def _show_ended(remote: Remote, jobs: list[JobInfo]) -> None:
    remote.display.listing(jobs, ["id", *ENDING_COLUMNS], ((each.id, *ending(each)) for each in jobs))


def _fields(info: JobInfo) -> dict[str, object]:
    now = time.time()
    return {
        "id": info.id,
        "state": info.state,
        "reason": reason(info),
        "lambda": info.lambda_.id,
        "runtime": info.lambda_.runtime,
        "input": blob_id(info.input),
        "output": blob_id(info.output) if isinstance(info.output, Content) else None,
        "tags": info.tags,
        "key": info.key,
        "priority": info.priority or None,
        "attempts": f"{info.attempt} of {info.max_attempts}",
        "worker": info.worker,
        "created": format_age(info.created_at, now),
        "due": format_age(info.due_at, now) if not info.state.is_final else None,
        "started": format_age(info.started_at, now),
        "finished": format_age(info.finished_at, now),
        "took": took(info),
        "expires": format_age(info.expires_at, now),
        "used": None if isinstance(info.usage, UnsetType) else _describe_usage(info.usage),
        **_describe_digests(None if isinstance(info.usage, UnsetType) else info.usage.digests),
    }


def _describe_digests(digests: Digests | None) -> dict[str, object]:
    """Return rows for what went into a deterministic run, and what came out."""
    named = {} if digests is None else msgspec.structs.asdict(digests)
    return {f"SHA-256 of the {name}": value for name, value in named.items()}


def _describe_usage(usage: Usage) -> str:
    parts = {
        "wall": usage.wall_s and format_duration(usage.wall_s),
        "CPU": usage.cpu_s and format_duration(usage.cpu_s),
        "fuel": usage.fuel,
        "memory": format_bytes(usage.memory_bytes),
    }
    return ", ".join(f"{name} {value}" for name, value in parts.items() if value)
