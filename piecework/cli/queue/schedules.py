"""`piecework schedule`: jobs that are submitted again and again."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec
import rich_click as click
from msgspec import UNSET

from piecework.cli.failures import warn
from piecework.cli.options.completing import complete_time_zone
from piecework.cli.options.kinds import FILE_OR_ID, LAMBDA, NEW_NAME, SCHEDULE
from piecework.cli.queue.jobs.submit import TERMS_OPTIONS, add_options, job_options
from piecework.cli.queue.jobs.waiting import describe_end, describe_going_on
from piecework.cli.queue.jobs.watching import show_result, watch_job
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.cli.screen.figures import format_moment
from piecework.cli.screen.rests import tell_rest
from piecework.cli.screen.schedule_rows import COLUMNS, TICK_COLUMNS, describe_schedule, schedule_row, tick_row
from piecework.cli.stock.data import put_file
from piecework.protocol import bodies
from piecework.protocol.ids import Id
from piecework.protocol.messages import CatchUp, JobSpec, Overlap, ScheduleInfo, ScheduleUpdate
from piecework.text.durations import DURATION, DURATION_OR_ZERO

F = TypeVar("F", bound=Callable[..., Any])

TIMING_OPTIONS = (
    click.option("--cron", metavar="LINE", help="Tick then: minute hour day month weekday, or @daily and others."),
    click.option(
        "--timezone",
        metavar="ZONE",
        help="Read the line in this time zone, such as Europe/Berlin; usually UTC.",
        shell_complete=complete_time_zone,
    ),
    click.option(
        "--every", "every_s", type=DURATION, metavar="DURATION", help="Tick so often: 90 (seconds), 5m, 1h30m."
    ),
)
RULE_OPTIONS = (
    click.option(
        "--catch-up",
        type=click.Choice(get_args(CatchUp)),
        help="Which ticks get a job that no server was there for; usually one, for the last.",
    ),
    click.option(
        "--overlap",
        type=click.Choice(get_args(Overlap)),
        help="What to do while an earlier job has not ended: usually allow another.",
    ),
    click.option(
        "--jitter",
        "jitter_s",
        type=DURATION_OR_ZERO,
        metavar="DURATION",
        help="Let jobs become due by chance within that time after their ticks.",
    ),
    click.option(
        "--expires",
        "expires_s",
        type=DURATION,
        metavar="DURATION",
        help="Cancel jobs that were not started so long after their ticks.",
    ),
)
RESETS = {
    "input": "input", "arg": "args", "env": "env", "tag": "tags", "priority": "priority", "delay": "delay_s",
    "timeout": "timeout_s", "memory": "limits", "max-attempts": "max_attempts", "backoff": "backoff",
    "retry-on": "retry_on", "ok-code": "ok_codes", "on-end": "on_end", "expires": "expires_s",
    "timezone": "timezone",
}  # fmt: skip
"""What ``edit --reset`` takes away, and the field that has it."""
OF_SCHEDULE = frozenset({"expires_s", "timezone"})
"""Those of these fields that are not the job's."""


@click.group
def schedule() -> None:
    """Submit jobs again and again, by cron lines or in intervals."""


def schedule_options(command: F) -> F:
    """Add the options that say when a schedule ticks, and what its jobs are like."""
    return add_options(command, TIMING_OPTIONS, RULE_OPTIONS, TERMS_OPTIONS)


@schedule.command
@click.argument("name", type=NEW_NAME)
@click.argument("lambda_id", metavar="LAMBDA", type=LAMBDA)
@click.option("--input", "given", metavar="FILE|-|ID", type=FILE_OR_ID, help="The input of each job.")
@click.option("--paused", is_flag=True, help="Do not let it tick before 'piecework schedule resume'.")
@schedule_options
@remote_command
def create(
    remote: Remote, name: str, lambda_id: Id | str, *, given: Path | Id | None, paused: bool, **options: Any
) -> None:
    """Create a schedule and print its id: it submits a job of LAMBDA at each of its ticks.

    A lambda that is given by its name is at each tick the newest of that name.
    """
    if (options["cron"] is None) == (options["every_s"] is None):
        raise click.UsageError("say when it ticks: --cron or --every, and only one of them.")
    rules, job = _split(options)
    value = put_file(remote.client, given).id if isinstance(given, Path) else given
    remote.if_interrupted = "the schedule may have been created: 'piecework schedule list' shows it then"
    made = remote.client.create_schedule(name, lambda_id, value, paused=paused, **rules, **job_options(**job))
    if remote.display.as_json:
        remote.display.document(to_document(made))
        return
    _tell_next(made)
    remote.display.line(made.id)


@schedule.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Show so many at most.")
@remote_command
def list_(remote: Remote, limit: int) -> None:
    """List schedules, newest first, with their next and last ticks."""
    found = list(remote.client.schedules(limit + 1))
    if len(found) > limit:
        tell_rest(limit)
    found, now = found[:limit], time.time()
    rows = (schedule_row(each, now) for each in found)
    remote.display.listing(found, COLUMNS, rows, less=["lambda", "last job", "last"])


@schedule.command
@click.argument("ref", metavar="SCHEDULE", type=SCHEDULE)
@click.option(
    "--ticks",
    "limit",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Show so many of its ticks.",
)
@remote_command
def show(remote: Remote, ref: Id | str, limit: int) -> None:
    """Show everything about a schedule, and what came of its last ticks."""
    info = remote.client.schedule(ref)
    ticks = list(remote.client.ticks(info.id, limit)) if limit else []
    if remote.display.as_json:
        remote.display.document(to_document(info) | {"ticks": [to_document(each) for each in ticks]})
        return
    remote.display.fields(describe_schedule(info, time.time()))
    if ticks:
        remote.display.line("")
        remote.display.table(TICK_COLUMNS, map(tick_row, ticks))


@schedule.command
@click.argument("ref", metavar="SCHEDULE", type=SCHEDULE)
@click.option("--lambda", "lambda_id", type=LAMBDA, help="Run this lambda from now on.")
@click.option("--input", "given", metavar="FILE|-|ID", type=FILE_OR_ID, help="Give this input to each job.")
@click.option(
    "--reset",
    type=click.Choice(tuple(RESETS)),
    multiple=True,
    help="Take this away, as if it had never been given.",
)
@schedule_options
@remote_command
def edit(
    remote: Remote,
    ref: Id | str,
    *,
    lambda_id: Id | str | None,
    given: Path | Id | None,
    reset: Sequence[str],
    **options: Any,
) -> None:
    """Change a schedule: what is named changes, the rest stays. Jobs that it submitted stay as they are."""
    rules, job = _split(options)
    fields: dict[str, Any] = dict(job_options(**job))
    if lambda_id is not None:
        fields["lambda_"] = lambda_id
    if given is not None:
        fields["input"] = put_file(remote.client, given).id if isinstance(given, Path) else given
    changes = _write_changes(fields)
    for name in reset:
        (rules if RESETS[name] in OF_SCHEDULE else changes)[RESETS[name]] = None
    if not rules and not changes:
        raise click.UsageError("say what changes: one option at least.")
    remote.if_interrupted = f"{ref} may have been changed"
    changed = remote.client.change_schedule(ref, ScheduleUpdate(job=changes or UNSET, **rules))
    if remote.display.as_json:
        remote.display.document(to_document(changed))
    else:
        _tell_next(changed)
        remote.display.line(f"{changed.name} is changed")


@schedule.command
@click.argument("refs", metavar="SCHEDULE...", nargs=-1, required=True, type=SCHEDULE)
@remote_command
def pause(remote: Remote, refs: Sequence[Id | str]) -> None:
    """Keep schedules from ticking until they are resumed."""
    remote.apply_to_all(refs, lambda ref: f"{remote.client.pause_schedule(ref).name} is paused", "paused")


@schedule.command
@click.argument("refs", metavar="SCHEDULE...", nargs=-1, required=True, type=SCHEDULE)
@remote_command
def resume(remote: Remote, refs: Sequence[Id | str]) -> None:
    """Let schedules tick again. Ticks of the pause are not made up for."""

    def resume_one(ref: Id | str) -> str:
        resumed = remote.client.resume_schedule(ref)
        _tell_next(resumed)
        return f"{resumed.name} is resumed"

    remote.apply_to_all(refs, resume_one, "resumed")


@schedule.command
@click.argument("ref", metavar="SCHEDULE", type=SCHEDULE)
@click.option("--wait", is_flag=True, help="Wait for the result and print it.")
@remote_command
def run(remote: Remote, ref: Id | str, wait: bool) -> None:
    """Submit a schedule's job now, beside its ticks, and print its id."""
    remote.if_interrupted = f"a job may have been submitted: 'piecework schedule show {ref}' shows it then"
    job = remote.client.run_schedule(ref)
    remote.if_interrupted = describe_going_on([job])
    if wait:
        result = watch_job(remote.patient_client, job)
        remote.if_interrupted = describe_end(job)
        show_result(remote, result)
    elif remote.display.as_json:
        remote.display.document({"id": str(job)})
    else:
        remote.display.line(job)


@schedule.command
@click.argument("refs", metavar="SCHEDULE...", nargs=-1, required=True, type=SCHEDULE)
@remote_command
def remove(remote: Remote, refs: Sequence[Id | str]) -> None:
    """Remove schedules. Jobs that they submitted stay."""
    remote.apply_to_all(refs, remote.client.remove_schedule, "removed")


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what was said of the schedule itself, and the options of its job."""
    names = ("cron", "timezone", "every_s", "catch_up", "overlap", "jitter_s", "expires_s")
    rules = {name: options[name] for name in names if options[name] is not None}
    return rules, {name: value for name, value in options.items() if name not in names}


def _write_changes(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a job as they travel, without those that were not given."""
    written = msgspec.json.decode(bodies.encode(JobSpec(**fields)))
    return {name: written[name] for name in (each.removesuffix("_") for each in fields)}


def _tell_next(info: ScheduleInfo) -> None:
    """Say on stderr when a schedule ticks next, unless it is paused."""
    if isinstance(info.next_at, float):
        warn(f"{info.name} ticks next at {format_moment(info.next_at)}")
