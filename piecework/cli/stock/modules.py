"""`piecework module`: wasm binaries under names and tags."""

import sys
import time
from dataclasses import asdict
from pathlib import Path

import rich_click as click

from piecework.cli.options import FILE_OR_STDIN, MODULE, STDIN
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document, write_output
from piecework.cli.screen.figures import format_age, format_bytes
from piecework.cli.screen.progress import reading, receiving
from piecework.cli.screen.rests import tell_rest
from piecework.cli.stock.lambdas import describe_inspection
from piecework.modules import inspect_code
from piecework.protocol.messages import ModuleInfo
from piecework.protocol.names import ModuleName

NAME = "ORG/MODULE/TAG"


@click.group
def module() -> None:
    """Push, list, pull and delete modules of the registry.

    A module is a wasm binary called ORG/MODULE/TAG. With @sha256:HEX behind it, the name means these bytes only.
    """


@module.command
@click.argument("file", type=FILE_OR_STDIN)
@click.argument("name", metavar=NAME, type=MODULE)
@click.option("--info", metavar="TEXT", help="Say something about it.")
@remote_command
def push(remote: Remote, file: Path, name: ModuleName, info: str | None) -> None:
    """Store FILE (- is standard input) as a module, and print its name with the digest.

    A tag keeps its bytes: pushing the same again is fine, pushing others is refused.
    """
    if name.digest:
        raise click.UsageError("a module is pushed under ORG/MODULE/TAG; its digest is what the bytes give.")
    remote.if_interrupted = f"{name} may have been pushed: 'piecework module show {name}' tells"
    if file == STDIN:
        found = remote.client.push_module(name, sys.stdin.buffer, info)
    else:
        with reading(file) as source:
            found = remote.client.push_module(name, source, info)
    if remote.display.as_json:
        remote.display.document(to_document(found))
    else:
        remote.display.line(_full_name(found))


@module.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Show so many at most.")
@remote_command
def list_(remote: Remote, limit: int) -> None:
    """List modules, newest first."""
    found = list(remote.client.modules(limit + 1))
    if len(found) > limit:
        tell_rest(limit)
    found = found[:limit]
    now = time.time()
    rows = (
        (
            f"{each.org}/{each.module}/{each.tag}",
            each.abi,
            format_bytes(each.size),
            format_age(each.created_at, now),
            each.digest[:12],
            each.info,
        )
        for each in found
    )
    remote.display.listing(found, ["name", "abi", "size", "pushed", "digest", "info"], rows)


@module.command
@click.argument("name", metavar=NAME, type=MODULE)
@remote_command
def show(remote: Remote, name: ModuleName) -> None:
    """Show what is known about a module, and what it is and needs, as `lambda inspect` does."""
    found = remote.client.module(name)
    inspection = inspect_code(remote.client.read_module(name._replace(digest=found.digest)))
    if remote.display.as_json:
        remote.display.document(to_document(found) | {"inspection": asdict(inspection)})
        return
    fields = {
        "name": f"{found.org}/{found.module}/{found.tag}",
        "info": found.info,
        "abi": found.abi,
        "pushed": format_age(found.created_at, time.time()),
        "data": found.data,
    }
    remote.display.fields(fields | describe_inspection(inspection))


@module.command
@click.argument("name", metavar=NAME, type=MODULE)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write it to this file, - is standard output; MODULE.wasm unless given.",
)
@remote_command
def pull(remote: Remote, name: ModuleName, output: Path | None) -> None:
    """Download a module.

    The file appears only when all of it has come and its digest was right.
    """
    if output == STDIN:
        write_output(remote.client.stream_module(name))
        return
    path = output or Path(name.file)
    found = remote.client.module(name)
    with receiving(path.name, found.size if sys.stderr.isatty() else 0) as received:
        remote.client.pull_module(name._replace(digest=found.digest), path, on_bytes=received)
    if remote.display.as_json:
        remote.display.document(to_document(found) | {"file": str(path)})
    else:
        remote.display.line(f"{path}: {_full_name(found)}")


@module.command
@click.argument("names", metavar=f"{NAME}...", nargs=-1, required=True, type=MODULE)
@remote_command
def delete(remote: Remote, names: tuple[ModuleName, ...]) -> None:
    """Delete modules; refused while a revision of a function is made of one."""
    remote.apply_to_all(names, remote.client.delete_module, "deleted")


def _full_name(found: ModuleInfo) -> ModuleName:
    return ModuleName(found.org, found.module, found.tag, found.digest)
