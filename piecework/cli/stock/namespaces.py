"""`piecework kv`: keys and values in namespaces."""

import sys
import time
from pathlib import Path

import rich_click as click

from piecework.cli.options.kinds import FILE_OR_STDIN, KEY, NAMESPACE, STDIN
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document, write_output
from piecework.cli.screen.figures import format_age, format_bytes
from piecework.cli.screen.rests import tell_rest
from piecework.protocol.ids import Id
from piecework.protocol.messages import NamespaceInfo
from piecework.protocol.text import find_fault
from piecework.text.durations import DURATION


@click.group
def kv() -> None:
    """Keep keys and values in namespaces."""


@kv.command
@click.option("--consistency", type=click.Choice(["none", "eventual"]), help="What its users can do with.  [none]")
@remote_command
def create(remote: Remote, consistency: str | None) -> None:
    """Make a namespace and print its id."""
    remote.if_interrupted = "the namespace may have been made: 'piecework kv list' shows it then"
    made = remote.client.create_namespace(consistency)  # type: ignore[arg-type]  # a choice has no narrower type
    if remote.display.as_json:
        remote.display.document({"id": str(made)})
    else:
        remote.display.line(made)


@kv.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Show so many at most.")
@remote_command
def list_(remote: Remote, limit: int) -> None:
    """List namespaces, newest first, with what they hold."""
    found = list(remote.client.namespaces(limit + 1))
    if len(found) > limit:
        tell_rest(limit)
    found = found[:limit]
    columns = ["id", "entries", "size", "consistency", "created"]
    rows = (_describe(each).values() for each in found)
    remote.display.listing(found, columns, map(list, rows), less=["consistency"])


@kv.command
@click.argument("namespace", type=NAMESPACE)
@remote_command
def info(remote: Remote, namespace: Id) -> None:
    """Show what a namespace holds."""
    found = remote.client.namespace(namespace)
    if remote.display.as_json:
        remote.display.document(to_document(found))
    else:
        remote.display.fields(_describe(found))


@kv.command
@click.argument("namespace", type=NAMESPACE)
@click.option("--prefix", default="", help="Only those that begin so.")
@click.option("--limit", type=click.IntRange(min=1), help="Show so many at most.")
@remote_command
def keys(remote: Remote, namespace: Id, prefix: str, limit: int | None) -> None:
    """List the keys of a namespace, one a line, in the order of their bytes.

    With --json they are one array, where a key with a line break is one as well.
    """
    found = remote.client.keys(namespace, prefix, limit)
    if remote.display.as_json:
        remote.display.document(list(found))
        return
    for key in found:
        remote.display.line(key)


@kv.command
@click.argument("namespace", type=NAMESPACE)
@click.argument("key", type=KEY)
@remote_command
def get(remote: Remote, namespace: Id, key: str) -> None:
    """Print the value under a key as it is, with no line break after it.

    With --json it comes with its times. Exit code 1 when there is none.
    """
    found = remote.client.entry(namespace, key)
    if remote.display.as_json:
        remote.display.document(to_document(found))
    else:
        write_output([found.value.encode()])


@kv.command("set")
@click.argument("namespace", type=NAMESPACE)
@click.argument("key", type=KEY)
@click.argument("value", required=False)
@click.option("-f", "--file", type=FILE_OR_STDIN, help="Take the value from a file, - for standard input.")
@click.option(
    "--expire",
    "expire_s",
    type=DURATION,
    metavar="DURATION",
    help="Remove it after so long: 90 (seconds), 5m, 1h30m.",
)
@click.option("--append", is_flag=True, help="Put the value behind the one that is there.")
@click.option("--get", is_flag=True, help="Print the value from before.")
@click.option("--if-value", metavar="TEXT", help="Only if this is the value that is there.")
@click.option("--if-absent", is_flag=True, help="Only if there is no value.")
@remote_command
def set_(  # one argument for each option
    remote: Remote,
    namespace: Id,
    key: str,
    value: str | None,
    file: Path | None,
    expire_s: float | None,
    append: bool,
    get: bool,
    if_value: str | None,
    if_absent: bool,
) -> None:
    """Set the value under a key to VALUE, or to what is in a file; - is standard input.

    Exit code 1 when a condition does not hold; then nothing is changed.
    """
    if (value is None) == (file is None):
        raise click.UsageError("give the value: VALUE or --file, and only one of them.")
    if if_absent and if_value is not None:
        raise click.UsageError("give --if-value or --if-absent, not both.")
    text = _read_value(STDIN if value == "-" else file) if value in {None, "-"} else value
    remote.if_interrupted = f"{key} may be set"
    there = remote.client.set_value(
        namespace,
        key,
        text or "",
        expire_s=expire_s,
        append=append,
        get=get,
        if_value=if_value,
        if_absent=if_absent,
    )
    if remote.display.as_json:
        remote.display.document({"value": there})
    elif get:
        write_output([there.encode()])
    else:
        remote.display.line(f"{key} has {format_bytes(len(there.encode()))}")


@kv.command
@click.argument("namespace", type=NAMESPACE)
@click.argument("key", type=KEY)
@click.argument("amount", type=int, default=1)
@click.option("--expire", "expire_s", type=DURATION, metavar="DURATION", help="Remove it after so long.")
@remote_command
def add(remote: Remote, namespace: Id, key: str, amount: int, expire_s: float | None) -> None:
    """Add AMOUNT, or 1, to the number under a key, and print the sum. No value counts as 0.

    A negative amount goes behind --: piecework kv add NAMESPACE KEY -- -1
    """
    remote.if_interrupted = f"{amount} may have been added to {key}"
    total = remote.client.add_to_value(namespace, key, amount, expire_s=expire_s)
    if remote.display.as_json:
        remote.display.document({"value": total})
    else:
        remote.display.line(total)


@kv.command
@click.argument("namespace", type=NAMESPACE)
@click.argument("keys", metavar="KEY...", nargs=-1, required=True, type=KEY)
@click.option("--if-value", metavar="TEXT", help="Only if this is the value that is there.")
@remote_command
def delete(remote: Remote, namespace: Id, keys: tuple[str, ...], if_value: str | None) -> None:
    """Remove keys and their values."""

    def remove_one(key: str) -> str:
        remote.client.delete_value(namespace, key, if_value=if_value)
        return f"{key} is deleted"

    remote.apply_to_all(keys, remove_one, "deleted")


@kv.command
@click.argument("namespaces", metavar="NAMESPACE...", nargs=-1, required=True, type=NAMESPACE)
@remote_command
def flush(remote: Remote, namespaces: tuple[Id, ...]) -> None:
    """Remove all keys and values of namespaces, which stay."""

    def flush_one(namespace: Id) -> str:
        remote.client.flush_namespace(namespace)
        return f"namespace {namespace} is flushed"

    remote.apply_to_all(namespaces, flush_one, "flushed")


@kv.command
@click.argument("namespaces", metavar="NAMESPACE...", nargs=-1, required=True, type=NAMESPACE)
@remote_command
def remove(remote: Remote, namespaces: tuple[Id, ...]) -> None:
    """Remove namespaces with all that is in them."""
    remote.apply_to_all(namespaces, remote.client.remove_namespace, "removed")


def _describe(found: NamespaceInfo) -> dict[str, object]:
    return {
        "id": found.id,
        "entries": found.entries,
        "size": format_bytes(found.size),
        "consistency": found.consistency,
        "created": format_age(found.created_at, time.time()),
    }


def _read_value(file: Path | None) -> str:
    """Read a value from a file or from standard input. Raises ClickException for what is no text."""
    assert file is not None, "there is a file, or - for one"
    content = sys.stdin.buffer.read() if file == STDIN else file.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise click.ClickException(
            f"{file} is not UTF-8, and values are texts: encode it, as with base64"
        ) from error
    if fault := find_fault({str(file): text}):
        raise click.ClickException(fault)
    return text
