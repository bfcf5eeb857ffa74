"""`piecework data`: blobs."""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

import rich_click as click

from piecework.cli.failures import warn
from piecework.cli.options.kinds import DATA, FILE_OR_STDIN, STDIN
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document, write_output
from piecework.cli.screen.figures import format_age, format_bytes
from piecework.cli.screen.progress import reading, receiving
from piecework.cli.screen.rests import tell_rest
from piecework.client import Client
from piecework.client.uploads import SPOOL_BYTES
from piecework.protocol.ids import Id
from piecework.protocol.messages import DataReply
from piecework.terminal.inputs import copy_piped_input, has_unread_input


@click.group
def data() -> None:
    """Upload, list, download and delete blobs."""


@data.command
@click.argument("files", nargs=-1, required=True, type=FILE_OR_STDIN)
@remote_command
def put(remote: Remote, files: tuple[Path, ...]) -> None:
    """Upload FILES (- is standard input) and print their ids.

    With --json, one file gives one object, several give an array.
    """
    replies: list[DataReply] = []
    try:
        for number, path in enumerate(files):
            stored = f"{number} of {len(files)} files are stored; " if number else ""
            remote.if_interrupted = f"{stored}{path} is not stored, or under an id that nobody was told"
            replies.append(put_file(remote.client, path))
    finally:
        if replies:
            _show_stored(remote, files, replies)


@data.command
@click.argument("blob", metavar="ID", type=DATA)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file.")
@remote_command
def get(remote: Remote, blob: Id, output: Path | None) -> None:
    """Download a blob to a file, or to standard output.

    A file appears only when all of it has come and its checksum was right.
    """
    get_blob(remote, blob, output)


@data.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Show so many at most.")
@remote_command
def list_(remote: Remote, limit: int) -> None:
    """List blobs, newest first: uploads, inputs and outputs of jobs, code."""
    found = list(remote.client.list_data(limit + 1))
    if len(found) > limit:
        tell_rest(limit)
    found, now = found[:limit], time.time()
    rows = (
        (each.id, format_bytes(each.size), each.name or "", format_age(each.created_at, now), each.checksum)
        for each in found
    )
    remote.display.listing(found, ["id", "size", "name", "stored", "checksum"], rows, less=["checksum"])


@data.command
@click.argument("blob", metavar="ID", type=DATA)
@remote_command
def show(remote: Remote, blob: Id) -> None:
    """Show a blob's size and checksum."""
    reply = remote.client.data(blob)
    if remote.display.as_json:
        remote.display.document(to_document(reply))
    else:
        remote.display.fields({"id": reply.id, "size": format_bytes(reply.size), "checksum": reply.checksum})


@data.command
@click.argument("blobs", metavar="ID...", nargs=-1, required=True, type=DATA)
@remote_command
def delete(remote: Remote, blobs: tuple[Id, ...]) -> None:
    """Delete blobs; refused while a lambda, module, unfinished job or schedule uses one."""
    remote.apply_to_all(blobs, remote.client.delete_data, "deleted")


def _show_stored(remote: Remote, files: tuple[Path, ...], replies: list[DataReply]) -> None:
    """Show the ids of the first of some files, or of all."""
    stored = list(zip(files, replies, strict=False))
    if remote.display.as_json:
        documents = [to_document(reply) | {"file": str(path)} for path, reply in stored]
        remote.display.document(documents if len(files) > 1 else documents[0])
    elif len(files) == 1:
        remote.display.line(replies[0].id)
    else:
        remote.display.table(["id", "file"], [(reply.id, path) for path, reply in stored])


def put_file(client: Client, path: Path) -> DataReply:
    """Upload a file, or standard input for ``-``; a bar shows how a large one gets on."""
    if path == STDIN:
        return client.upload(sys.stdin.buffer)
    with reading(path) as file:
        return client.upload(file, path.name if path.is_file() else "")


def put_piped_input(client: Client) -> Id | None:
    """Upload what is piped into the command; None when that is nothing."""
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
        file = cast("BinaryIO", spool)
        if not copy_piped_input(file, warn):
            return None
        file.seek(0)
        return client.upload(file).id


def refuse_piped_input() -> None:
    """Raise click.UsageError when something is piped into a command that was not told to read it."""
    if has_unread_input():
        raise click.UsageError(
            "there is something on standard input: --input - makes it the input, </dev/null leaves it out."
        )


def get_blob(remote: Remote, blob: Id, output: Path | None) -> None:
    """Download a blob to a file, or to standard output when there is none."""
    if output is None:
        write_output(remote.client.stream(blob))
        return
    with ExitStack() as stack:
        size = remote.client.data(blob).size if sys.stderr.isatty() else 0
        received = stack.enter_context(receiving(output.name, size if isinstance(size, int) else 0))
        written = remote.client.download(blob, output, on_bytes=received)
    if remote.display.as_json:
        remote.display.document({"id": str(blob), "file": str(output), "size": written})
