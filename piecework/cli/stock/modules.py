"""`piecework module`: wasm binaries under names and tags."""

import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import rich_click as click

from piecework.cli.options.kinds import MODULE, STDIN, KeyValueType
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document, write_output
from piecework.cli.screen.figures import format_age, format_bytes
from piecework.cli.screen.progress import reading, receiving
from piecework.cli.screen.rests import tell_rest
from piecework.cli.stock.lambdas import describe_inspection
from piecework.cli.stock.oci import (
    FILE_OR_OCI,
    MODULE_OR_OCI,
    fetched,
    plain_http_option,
    pull as pull_from_registry,
    push as push_to_registry,
)
from piecework.modules import inspect_code
from piecework.oci.references import Reference
from piecework.protocol.messages import ModuleInfo
from piecework.protocol.names import ModuleName

NAME = "ORG/MODULE/TAG"
ANYWHERE = f"{NAME}|oci://HOST/NAME:TAG"
DESCRIPTION = "org.opencontainers.image.description"
PIECE_BYTES = 256 * 1024


@click.group
def module() -> None:
    """Push, list, pull and delete modules of the registry.

    A module is a wasm binary called ORG/MODULE/TAG. With @sha256:HEX behind it, the name means these bytes only.
    Modules are pushed to, and pulled from, OCI registries as well: oci://HOST[:PORT]/NAME[:TAG][@sha256:HEX].
    """


@module.command
@click.argument("file", type=FILE_OR_OCI)
@click.argument("name", metavar=ANYWHERE, type=MODULE_OR_OCI)
@click.option("--info", metavar="TEXT", help="Say something about it.")
@click.option(
    "--annotation", "annotations", multiple=True, type=KeyValueType(), help="Annotate it, in an OCI registry."
)
@plain_http_option
@remote_command
def push(
    remote: Remote,
    file: Path | Reference,
    name: ModuleName | Reference,
    *,
    info: str | None,
    annotations: tuple[tuple[str, str], ...],
    plain_http: bool,
) -> None:
    """Store FILE (- is standard input) as a module, and print its name with the digest.

    A tag keeps its bytes: pushing the same again is fine, pushing others is refused. In an OCI registry a tag
    moves to what is pushed last, unless the registry has other rules. FILE may be in one, too: then it is copied.
    """
    if name.digest:
        raise click.UsageError("a module is pushed under a tag; its digest is what the bytes give.")
    if annotations and not isinstance(name, Reference):
        raise click.UsageError("--annotation is for OCI registries: the server's has --info.")
    remote.if_interrupted = f"{name} may have been pushed"
    with fetched(file, plain_http=plain_http, ca=remote.ca) as (path, pulled):
        if isinstance(name, Reference):
            described = {DESCRIPTION: info} if info else {}
            pushed = push_to_registry(
                path, name, described | dict(annotations), plain_http=plain_http, ca=remote.ca
            )
            _tell_pushed(remote, pushed, {"reference": str(pushed), "digest": pushed.digest})
        else:
            remote.if_interrupted += f": 'piecework module show {name}' tells"
            found = _push(remote, path, name, pulled if pulled and info is None else info)
            _tell_pushed(remote, _full_name(found), to_document(found))


def _push(remote: Remote, file: Path, name: ModuleName, info: str | None) -> ModuleInfo:
    if file == STDIN:
        return remote.client.push_module(name, sys.stdin.buffer, info)
    with reading(file) as source:
        return remote.client.push_module(name, source, info)


def _tell_pushed(remote: Remote, name: ModuleName | Reference, document: dict[str, object]) -> None:
    if remote.display.as_json:
        remote.display.document(document)
    else:
        remote.display.line(name)


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
@click.argument("name", metavar=ANYWHERE, type=MODULE_OR_OCI)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write it to this file, - is standard output; MODULE.wasm unless given.",
)
@plain_http_option
@remote_command
def pull(remote: Remote, name: ModuleName | Reference, output: Path | None, *, plain_http: bool) -> None:
    """Download a module.

    The file appears only when all of it has come and its digest was right. An OCI registry is logged in to with
    what 'docker login' or 'podman login' has kept.
    """
    if isinstance(name, Reference):
        _pull_from_registry(remote, name, output, plain_http=plain_http)
        return
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


def _pull_from_registry(remote: Remote, name: Reference, output: Path | None, *, plain_http: bool) -> None:
    path = output or Path(name.file)
    if path == STDIN:
        with fetched(name, plain_http=plain_http, ca=remote.ca) as (file, _), file.open("rb") as source:
            write_output(iter(partial(source.read, PIECE_BYTES), b""))
        return
    if path.exists() and not path.is_file() and not path.is_dir():  # a device or named pipe
        with fetched(name, plain_http=plain_http, ca=remote.ca) as (file, _):
            path.write_bytes(file.read_bytes())
        return
    found = pull_from_registry(name, path, plain_http=plain_http, ca=remote.ca)
    if remote.display.as_json:
        remote.display.document(found)
    else:
        remote.display.line(f"{path}: {found['reference']}")


@module.command
@click.argument("names", metavar=f"{NAME}...", nargs=-1, required=True, type=MODULE)
@remote_command
def delete(remote: Remote, names: tuple[ModuleName, ...]) -> None:
    """Delete modules; refused while a revision of a function is made of one."""
    remote.apply_to_all(names, remote.client.delete_module, "deleted")


def _full_name(found: ModuleInfo) -> ModuleName:
    return ModuleName(found.org, found.module, found.tag, found.digest)
