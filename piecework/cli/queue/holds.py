"""`piecework pause` and `piecework resume`: a lambda, a runtime, a group or a tenant as a whole."""

import time
from collections.abc import Callable
from typing import Any

import rich_click as click

from piecework.cli.options.completing import list_paused, list_runtimes, offer
from piecework.cli.options.kinds import GROUP, LAMBDA
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.cli.screen.figures import format_age
from piecework.protocol.messages import HoldInfo, HoldKind

KINDS: dict[HoldKind, tuple[str, Any, Callable[..., Any] | None, str]] = {
    "lambda": ("LAMBDA", LAMBDA, None, "jobs of a lambda, or of all lambdas that have a name"),
    "runtime": ("NAME", click.STRING, offer(list_runtimes), "jobs for a runtime, also with more features"),
    "group": ("GROUP", GROUP, None, "jobs of a group"),
    "tenant": ("NAME", click.STRING, None, "jobs of a tenant"),
}
"""What can be paused: how it is named, and what that keeps."""


@click.group
def pause() -> None:
    """Keep all jobs of a lambda, runtime, group or tenant from workers."""


@click.group
def resume() -> None:
    """Let the jobs of a lambda, runtime, group or tenant go on."""


@pause.command("list")
@remote_command
def list_(remote: Remote) -> None:
    """List what is paused, oldest first."""
    found, now = remote.client.holds(), time.time()
    rows = ((each.kind, _name(each), format_age(each.since, now), each.by, each.note) for each in found)
    remote.display.listing(found, ["kind", "name", "since", "by", "note"], rows)


def _add_commands(kind: HoldKind) -> None:
    metavar, type_, completion, what = KINDS[kind]
    argument = click.argument("target", metavar=metavar, type=type_, shell_complete=completion)
    paused = click.argument("target", metavar=metavar, type=type_, shell_complete=offer(list_paused(kind)))

    @pause.command(kind, help=f"Keep {what} from workers until they are resumed; what runs goes on.")
    @argument
    @click.option("--note", default="", help="Why, for those who wonder.")
    @remote_command
    def pause_one(remote: Remote, target: str | int, note: str) -> None:
        _tell(remote, remote.client.pause(kind, target, note), f"{kind} {target}", "paused")

    @resume.command(kind, help=f"Let {what} go on; those that were paused one by one stay so.")
    @paused
    @remote_command
    def resume_one(remote: Remote, target: str | int) -> None:
        _tell(remote, remote.client.resume(kind, target), f"{kind} {target}", "resumed")


for _kind in KINDS:
    _add_commands(_kind)


def _tell(remote: Remote, found: list[HoldInfo], named: str, done: str) -> None:
    if remote.display.as_json:
        remote.display.document([to_document(each) for each in found])
    elif found:
        for each in found:
            remote.display.line(f"{each.kind} {_name(each)} {done}")
    else:
        remote.display.line(f"{named} was not paused")


def _name(hold: HoldInfo) -> str:
    return f"{hold.name}@{hold.target}" if hold.name else hold.target
