"""`piecework group`: jobs that are looked at, waited for and ended together."""

import time
from pathlib import Path
from typing import Any

import rich_click as click
from click.exceptions import Exit

from piecework.cli.failures import FAILED
from piecework.cli.options.completing import list_webhooks, offer
from piecework.cli.options.kinds import FILE_OR_ID, GROUP, LAMBDA
from piecework.cli.queue.jobs.bulk import CANCEL, RETRY, ask_first, sure_options, work_on
from piecework.cli.queue.jobs.selecting import NAMES
from piecework.cli.queue.jobs.submit import job_options, submission_options
from piecework.cli.queue.jobs.waiting import explaining
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.cli.screen.figures import format_age
from piecework.cli.screen.progress import counting
from piecework.cli.screen.rests import tell_rest
from piecework.cli.stock.data import put_file
from piecework.protocol.ids import Id
from piecework.protocol.messages import GroupBrief, GroupInfo, given
from piecework.protocol.states import JobState
from piecework.text.durations import DURATION_OR_ZERO

ON_END = click.option(
    "--on-end",
    metavar="WEBHOOK",
    help="Tell this webhook once the group is done.",
    shell_complete=offer(list_webhooks),
)


@click.group
def group() -> None:
    """Look at jobs together, wait for them, and run one when all are done.

    Jobs join a group with 'piecework job submit --group NAME'.
    """


@group.command
@click.argument("name", required=False)
@ON_END
@remote_command
def create(remote: Remote, name: str | None, on_end: str | None) -> None:
    """Make a group and print its id. A name that is new makes one by itself, too, when a job joins it."""
    remote.if_interrupted = "the group may have been made: 'piecework group list' shows it then"
    made = remote.client.create_group(name, on_end=on_end)
    if remote.display.as_json:
        remote.display.document({"id": str(made)})
    else:
        remote.display.line(made)


@group.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Show so many at most.")
@remote_command
def list_(remote: Remote, limit: int) -> None:
    """List groups, newest first."""
    found = list(remote.client.groups(limit + 1))
    if len(found) > limit:
        tell_rest(limit)
    found, now = found[:limit], time.time()
    rows = ((each.id, given(each.name), _stands(each), format_age(each.created_at, now)) for each in found)
    remote.display.listing(found, ["id", "name", "state", "created"], rows)


@group.command
@click.argument("group_ref", metavar="GROUP", type=GROUP)
@remote_command
def show(remote: Remote, group_ref: Id | str) -> None:
    """Show how the jobs of a group stand, and the first that failed."""
    _show(remote, remote.client.group(group_ref))


@group.command
@click.argument("group_ref", metavar="GROUP", type=GROUP)
@click.option("--timeout", "timeout_s", type=DURATION_OR_ZERO, metavar="DURATION", help="Wait no longer.")
@remote_command
def wait(remote: Remote, group_ref: Id | str, timeout_s: float | None) -> None:
    """Wait until all jobs that a group has are final; exit code 1 when one did not finish.

    A group that is open may get further ones after that.
    """
    info = remote.client.group(group_ref)
    going_on = f"its jobs go on: 'piecework group wait {group_ref}' waits again"
    with counting("waiting", info.jobs) as advance, explaining(lambda: going_on):
        done = 0
        for info in remote.patient_client.wait_for_group(group_ref, timeout_s):  # the last one counts
            for _ in range(info.jobs - info.left - done):
                advance()
            done = max(done, info.jobs - info.left)
    _show(remote, info)
    if info.left:
        raise click.ClickException(f"{info.left:,} of its {info.jobs:,} jobs are not final yet.")
    if any(each.state is not JobState.FINISHED for each in info.counts):
        raise Exit(FAILED)


@group.command
@click.argument("group_ref", metavar="GROUP", type=GROUP)
@ON_END
@remote_command
def seal(remote: Remote, group_ref: Id | str, on_end: str | None) -> None:
    """Close a group to further jobs: once all that it has are final, it is done."""
    info = remote.client.seal_group(group_ref, on_end=on_end)
    if remote.display.as_json:
        remote.display.document(to_document(info))
    else:
        remote.display.line(f"group {info.group.id} is sealed; {info.left:,} of its {info.jobs:,} jobs are left")


@group.command
@click.argument("group_ref", metavar="GROUP", type=GROUP)
@click.argument("lambda_id", metavar="LAMBDA", type=LAMBDA)
@click.option("--input", "given_input", metavar="FILE|-|ID", type=FILE_OR_ID, help="Instead of the results.")
@submission_options
@remote_command
def then(
    remote: Remote, group_ref: Id | str, lambda_id: Id | str, *, given_input: Path | Id | None, **options: Any
) -> None:
    """Seal a group, and submit a job that runs once it is done; print the job's id.

    Its input is a JSON object with each job's id, state and output, the id of a blob.
    """
    remote.if_interrupted = f"the group may be sealed: 'piecework group show {group_ref}' tells"
    value = put_file(remote.client, given_input).id if isinstance(given_input, Path) else given_input
    job = remote.client.submit_then(group_ref, lambda_id, value, **job_options(**options))
    if remote.display.as_json:
        remote.display.document({"id": str(job)})
    else:
        remote.display.line(job)


@group.command
@click.argument("group_ref", metavar="GROUP", type=GROUP)
@sure_options
@remote_command
def cancel(remote: Remote, group_ref: Id | str, dry_run: bool, yes: bool) -> None:
    """Seal a group, and cancel its jobs and those that wait for it; running ones are stopped within seconds."""
    if not dry_run:
        counted = remote.client.count_bulk("cancel", group=group_ref)
        if counted.matched and not yes:
            ask_first(CANCEL, counted.matched)
        remote.if_interrupted = f"the group may be sealed: 'piecework group show {group_ref}' tells"
        then = remote.client.seal_group(group_ref).dependants
        remote.client.bulk_ids("cancel", then)
    work_on(remote, CANCEL, (), dry_run=dry_run, yes=True, **_only(group_ref))


@group.command
@click.argument("group_ref", metavar="GROUP", type=GROUP)
@sure_options
@remote_command
def retry(remote: Remote, group_ref: Id | str, dry_run: bool, yes: bool) -> None:
    """Run those jobs of a group again that failed; what was cancelled because of them waits for them again."""
    work_on(remote, RETRY, (), dry_run=dry_run, yes=yes, **_only(group_ref))


def _only(group_ref: Id | str) -> dict[str, Any]:
    """Return the options that select the jobs of a group."""
    return dict.fromkeys(NAMES) | {"group": group_ref}


def _show(remote: Remote, info: GroupInfo) -> None:
    if remote.display.as_json:
        remote.display.document(to_document(info))
        return
    now = time.time()
    remote.display.fields(
        {
            "id": info.group.id,
            "name": given(info.group.name),
            "state": _stands(info.group),
            "jobs": f"{info.jobs:,}, {info.left:,} of them left ({info.progress:.0%} done)",
            **{f"  {each.state}": f"{each.jobs:,}" for each in info.counts},
            "failures": " ".join(map(str, info.failures)) or None,
            "then": " ".join(map(str, info.dependants)) or None,
            "on end": given(info.group.on_end),
            "submitter": given(info.group.submitter),
            "created": format_age(info.group.created_at, now),
            "sealed": format_age(info.group.sealed_at, now),
            "done": format_age(info.group.done_at, now),
        }
    )


def _stands(group: GroupBrief) -> str:
    if given(group.state) is not None:
        return str(group.state)
    return "open" if given(group.sealed_at) is None else "sealed"
