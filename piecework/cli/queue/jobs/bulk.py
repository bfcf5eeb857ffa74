"""`piecework job cancel`, `pause`, `resume`, `delete`, `retry`: some jobs by their ids, or all that fit."""

import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click
from click.exceptions import Exit

from piecework.cli.failures import FAILED, warn
from piecework.cli.options.kinds import FILE_OR_ID, JOB, LAMBDA, MIB, OK_CODE_OPTION, KeyValueType
from piecework.cli.queue.jobs.selecting import selection_options, take_selection
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.cli.screen.progress import counting
from piecework.cli.stock.data import put_file
from piecework.client import BulkResult, EditOptions, Selection
from piecework.protocol.ids import Id
from piecework.protocol.messages import BulkAction, JobEdit, JobUpdate, Limits
from piecework.text.durations import DURATION

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Deed:
    """Something that can be done to jobs, in words."""

    action: BulkAction
    doing: str
    done: str
    is_final: bool = False
    """It ends jobs, or removes them: people are asked before it is done to all jobs that fit."""
    status: str | None = None
    """The state to which a job is set by it, where that is all."""


CANCEL = Deed("cancel", "cancelling", "cancelled", is_final=True, status="cancelled")
PAUSE = Deed("pause", "pausing", "paused", status="paused")
RESUME = Deed("resume", "resuming", "resumed", status="enqueued")
DELETE = Deed("delete", "deleting", "deleted", is_final=True)
RETRY = Deed("retry", "running again", "run again")
UNDONE_BY: dict[BulkAction, Deed] = {"cancel": RETRY, "pause": RESUME, "resume": PAUSE, "retry": CANCEL}


def sure_options(command: F) -> F:
    """Add the options that say how sure the caller is."""
    command = click.option("--yes", "-y", is_flag=True, help="Do not ask first.")(command)
    return click.option("--dry-run", is_flag=True, help="Only tell how many jobs it would be.")(command)


def bulk_options(command: F) -> F:
    """Add what all of these commands have: ids, filters, and how sure the caller is."""
    command = selection_options(sure_options(command))
    return click.argument("job_ids", metavar="[ID...]", nargs=-1, type=JOB)(command)


@click.command
@bulk_options
@remote_command
def cancel(remote: Remote, job_ids: Sequence[Id], **options: Any) -> None:
    """Cancel jobs, by ids or all that fit; a running one is stopped within seconds."""
    work_on(remote, CANCEL, job_ids, **options)


@click.command
@bulk_options
@remote_command
def pause(remote: Remote, job_ids: Sequence[Id], **options: Any) -> None:
    """Keep jobs that nobody runs yet out of the queue until they are resumed: by ids, or all that fit."""
    work_on(remote, PAUSE, job_ids, **options)


@click.command
@bulk_options
@remote_command
def resume(remote: Remote, job_ids: Sequence[Id], **options: Any) -> None:
    """Let paused jobs into the queue, also those submitted with --paused: by ids, or all that fit."""
    work_on(remote, RESUME, job_ids, **options)


@click.command
@bulk_options
@remote_command
def delete(remote: Remote, job_ids: Sequence[Id], **options: Any) -> None:
    """Remove jobs that have ended, with their outputs, logs and traces: by ids, or all that fit."""
    work_on(remote, DELETE, job_ids, **options)


@click.command
@bulk_options
@click.option("--new-lambda", type=LAMBDA, help="Run this lambda instead.")
@click.option("--input", "given", metavar="FILE|-|ID", type=FILE_OR_ID, help="Give it another input.")
@click.option("--arg", "args", multiple=True, help="Replace its arguments by these.")
@click.option("--env", multiple=True, type=KeyValueType(), help="Set a variable for it, too.")
@click.option("--timeout", "timeout_s", type=DURATION, metavar="DURATION", help="Stop an attempt after so long.")
@click.option("--memory", "memory_mb", type=click.IntRange(min=1), metavar="MB", help="Most memory it may use.")
@OK_CODE_OPTION
@remote_command
def retry(
    remote: Remote,
    job_ids: Sequence[Id],
    *,
    new_lambda: Id | str | None,
    given: Path | Id | None,
    args: tuple[str, ...],
    env: tuple[tuple[str, str], ...],
    timeout_s: float | None,
    memory_mb: int | None,
    ok_codes: tuple[int, ...],
    **options: Any,
) -> None:
    """Run jobs again that failed or were cancelled: by ids, or all that fit; failed ones unless --state is given.

    Without changes it is the same job, with all of its attempts once more. With changes a new job is made of each,
    and the old one stays as it ended.
    """
    changes: EditOptions = {}
    if new_lambda is not None:
        changes["lambda_"] = new_lambda
    if args:
        changes["args"] = list(args)
    if env:
        changes["env"] = dict(env)
    if timeout_s is not None:
        changes["timeout_s"] = timeout_s
    if memory_mb is not None:
        changes["limits"] = Limits(memory_bytes=memory_mb * MIB)
    if ok_codes:
        changes["ok_codes"] = list(ok_codes)

    def describe() -> JobEdit | None:
        if given is not None:
            changes["input"] = put_file(remote.client, given).id if isinstance(given, Path) else given
        return remote.client.describe_edit(**changes) if changes else None

    work_on(remote, RETRY, job_ids, describe, **options)


@click.command
@click.argument("key", metavar="KEY")
@sure_options
@remote_command
def undo(remote: Remote, key: str, *, dry_run: bool, yes: bool) -> None:
    """Take back what a command did to all jobs that fit, within a day; KEY is what it told.

    What was cancelled is run again, what was run again is cancelled, what was paused is resumed and the other way
    round. Jobs that were changed since are left alone. What was deleted is gone.
    """
    found = remote.client.undo_bulk(key, dry_run=True)
    if found.undoes is None:
        raise click.ClickException(
            f"there is nothing to take back under {key}: it changed no job, was taken back already, or is older "
            "than a day"
        )
    deed = UNDONE_BY[found.undoes]
    if not dry_run:
        if deed.is_final and not yes:
            ask_first(deed, found.changed)
        remote.if_interrupted = f"some of the jobs may have been {deed.done}; the same command goes on"
        found = remote.client.undo_bulk(key)
    _show(remote, deed, found, dry_run=dry_run)


def work_on(
    remote: Remote,
    deed: Deed,
    job_ids: Sequence[Id],
    describe_edit: Callable[[], JobEdit | None] = lambda: None,
    *,
    dry_run: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Do something to jobs that are named, or to all that fit, and show what came of it. Exits 1 for a refusal."""
    which = take_selection(options)
    if job_ids and which:
        raise click.UsageError("name jobs by their ids or by what they have in common, not by both.")
    if not job_ids and not which:
        raise click.UsageError("say which jobs: by their ids, or by options such as --state failed.")
    if job_ids and deed.status and not dry_run:
        remote.apply_to_all(job_ids, partial(_set, remote, deed.status), deed.done)
    elif job_ids:
        edit = None if dry_run else describe_edit()
        remote.if_interrupted = f"some of the jobs may have been {deed.done}"
        result = remote.client.bulk_ids(deed.action, job_ids, edit=edit, dry_run=dry_run)
        _show(remote, deed, result, dry_run=dry_run)
    else:
        _work_on_all(remote, deed, which, describe_edit, dry_run=dry_run, yes=yes)


def _set(remote: Remote, status: str, job_id: Id) -> str:
    if status == "cancelled":
        return remote.client.cancel(job_id)
    return remote.client.update_job(job_id, JobUpdate(status=status))


def _work_on_all(
    remote: Remote,
    deed: Deed,
    which: Selection,
    describe_edit: Callable[[], JobEdit | None],
    *,
    dry_run: bool,
    yes: bool,
) -> None:
    counted = remote.client.count_bulk(deed.action, **which)
    if dry_run or not counted.matched:
        _show(remote, deed, BulkResult(counted.matched, counted.matched), dry_run=True)
        return
    if deed.is_final and not yes:
        ask_first(deed, counted.matched)
    edit = describe_edit()
    looked_at = 0
    with counting(deed.doing, counted.matched) as tell:

        def advance(jobs: int) -> None:
            nonlocal looked_at
            looked_at += jobs
            remote.if_interrupted = f"about {looked_at:,} of {counted.matched:,} jobs were {deed.done}"
            tell(jobs)

        advance(0)
        key = f"{deed.action}-{secrets.token_hex(4)}"
        result = remote.client.bulk(
            deed.action, edit=edit, counted=counted, advance=advance, undo_key=key, **which
        )
    undo_key = key if result.changed and deed.action in UNDONE_BY else None
    if undo_key and not remote.display.as_json:
        warn(f"'piecework job undo {undo_key}' takes it back, within a day")
    _show(remote, deed, result, dry_run=False, undo_key=undo_key)


def can_ask() -> bool:
    """Tell whether somebody sits at a terminal."""
    return sys.stdin.isatty()


def ask_first(deed: Deed, matched: int) -> None:
    """Have somebody say that all of these are meant. Raises ClickException for a no, or without anybody."""
    which = "1 job" if matched == 1 else f"{matched:,} jobs"
    if not can_ask():
        raise click.UsageError(f"{which} would be {deed.done}: say --yes, for there is nobody to ask.")
    if not click.confirm(f"{deed.action.capitalize()} {which}?", err=True):
        raise click.ClickException("nothing was changed.")


def _show(remote: Remote, deed: Deed, result: BulkResult, *, dry_run: bool, undo_key: str | None = None) -> None:
    if remote.display.as_json:
        made = {str(job): str(new) for job, new in result.made.items()}
        refused = [to_document(each) for each in result.refused]
        document = {"matched": result.matched, "changed": 0 if dry_run else result.changed, "refused": refused}
        more = ({"made": made} if made else {}) | ({"undo_key": undo_key} if undo_key else {})
        remote.display.document(document | more)
    elif result.made:
        for new in result.made.values():
            remote.display.line(new)
    else:
        count = "1 job" if result.changed == 1 else f"{result.changed:,} jobs"
        remote.display.line(f"{count} would be {deed.done}" if dry_run else f"{count} {deed.done}")
    for each in result.refused:
        names = ", ".join(map(str, each.jobs)) + (" and others" if each.count > len(each.jobs) else "")
        warn(f"{names}: {each.message}")
    if result.refused:
        raise Exit(FAILED)
