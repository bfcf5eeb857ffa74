"""`piecework function`: what is called over HTTP, as those see it who deploy it."""

import time

import rich_click as click

from piecework.cli.functions.calling import invoke, logs
from piecework.cli.functions.deploying import deploy
from piecework.cli.functions.recorded import calls
from piecework.cli.options.completing import list_functions, offer
from piecework.cli.options.kinds import NAME, KeyValueType
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.cli.screen.function_rows import REVISION_COLUMNS, describe_function, revision_row, show_function
from piecework.client.functions.functions import pick_revision
from piecework.protocol.messages import FunctionInfo


@click.group
def function() -> None:
    """Deploy functions, look at them, call them."""


function.add_command(deploy)
function.add_command(invoke)
function.add_command(logs)
function.add_command(calls)


@function.command("list")
@remote_command
def list_(remote: Remote) -> None:
    """List the functions with their revisions: where calls go, what runs, how it does."""
    found = remote.client.functions()
    now = time.time()
    rows = ((each.name, *revision_row(revision, now)) for each in found for revision in each.revisions)
    remote.display.listing(found, ["function", *REVISION_COLUMNS], rows, less=["created", "p50", "code", "calls"])


@function.command
@click.argument("name", type=NAME, shell_complete=offer(list_functions))
@remote_command
def show(remote: Remote, name: str) -> None:
    """Show everything about a function: revisions, code, settings, replicas."""
    info = remote.client.function(name)
    if remote.display.as_json:
        remote.display.document(to_document(info))
    else:
        show_function(remote.display, info)


@function.command
@click.argument("name", type=NAME, shell_complete=offer(list_functions))
@click.argument("replicas", metavar="N", type=click.IntRange(min=0))
@click.option("--revision", type=NAME, help="Which version; may be left out when it is clear.")
@remote_command
def scale(remote: Remote, name: str, replicas: int, revision: str | None) -> None:
    """Have N replicas serve a function; with 0, each call is a job."""
    chosen = pick_revision(remote.client.function(name), revision)
    _note_change(remote, name)
    _tell(remote, remote.client.scale(name, chosen.name, replicas))


@function.command
@click.argument("name", type=NAME, shell_complete=offer(list_functions))
@click.argument("revision", type=NAME, required=False)
@click.option("--none", "ends", is_flag=True, help="End the default, or the split.")
@remote_command
def default(remote: Remote, name: str, revision: str | None, *, ends: bool) -> None:
    """Send the calls that name no revision to this one."""
    if ends == (revision is not None):
        raise click.UsageError("Name a revision, or say --none.")
    client = remote.client
    _note_change(remote, name)
    _tell(remote, client.remove_default(name) if revision is None else client.set_default(name, revision))


@function.command
@click.argument("name", type=NAME, shell_complete=offer(list_functions))
@click.argument("weights", metavar="REVISION=WEIGHT...", type=KeyValueType(), nargs=-1, required=True)
@remote_command
def split(remote: Remote, name: str, weights: tuple[tuple[str, str], ...]) -> None:
    """Divide the calls that name no revision, as in: split hola blue=90 green=10."""
    wrong = [f"{revision}={weight}" for revision, weight in weights if not _is_weight(weight)]
    if wrong:
        raise click.UsageError(f"{wrong[0]!r} has no weight: a whole number above 0.")
    if len(dict(weights)) < len(weights):
        raise click.UsageError("A revision is named twice.")
    _note_change(remote, name)
    _tell(remote, remote.client.split(name, {revision: int(weight) for revision, weight in weights}))


@function.command
@click.argument("name", type=NAME, shell_complete=offer(list_functions))
@click.option("--revision", type=NAME, help="Only this version.")
@click.option("--force", is_flag=True, help="Also when calls that name no revision go to it.")
@remote_command
def undeploy(remote: Remote, name: str, revision: str | None, *, force: bool) -> None:
    """Remove a function, or one revision; calls that run are ended first."""
    _note_change(remote, name)
    message = remote.client.undeploy(name, revision, force=force)
    if remote.display.as_json:
        remote.display.document({"undeployed": {"function": name, "revision": revision}})
    else:
        remote.display.line(message)


def _is_weight(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) > 0


def _note_change(remote: Remote, name: str) -> None:
    remote.if_interrupted = f"{name} may have been changed: 'piecework function show {name}' tells"


def _tell(remote: Remote, info: FunctionInfo) -> None:
    """Say how a function stands after a change."""
    if remote.display.as_json:
        remote.display.document(to_document(info))
    else:
        remote.display.fields(describe_function(info))
