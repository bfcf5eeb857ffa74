"""`piecework function invoke` and `piecework function logs`: functions at work."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import rich_click as click
from click.exceptions import Exit

from piecework.cli.failures import FAILED, warn
from piecework.cli.options.completing import list_functions, offer
from piecework.cli.options.kinds import FILE_OR_STDIN, NAME, STDIN
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document, write_output, write_text
from piecework.cli.screen.figures import format_moment
from piecework.cli.stock.data import refuse_piped_input
from piecework.client import Client, NotFound, Refused
from piecework.client.functions.functions import CALL_S, find_revision, pick_revision
from piecework.http.exchange import Headers, Request, Response
from piecework.protocol.messages import Content, ReplicaLog
from piecework.text.durations import DURATION

ENCODED = "!#$%&'()*+,/:;=?@[]~"
"""What stands in a path and query as it is; the rest is encoded."""
FAILURES = 400
"""The lowest status that says that a call failed."""
DEFAULT = "default"
"""Stands for the revision that gets the calls which name none."""
NO_ROUTE = b'"code":"ERROR","message":"\xf0\x9f\x98\xa2 Houston? We have a problem'
"""What the proxy answers where there is nothing to call, as Capsule's did."""


class HeaderType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """``Name: value``."""

    name = "name: value"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, colon, text = value.partition(":")
        if not name.strip() or not colon:
            self.fail(f"{value!r} is not 'Name: value'.", param, ctx)
        return name.strip(), text.strip()


@click.command
@click.argument("name", type=NAME, shell_complete=offer(list_functions))
@click.option("--revision", type=NAME, help="Call this version; else the default, or one by the split.")
@click.option("-d", "--data", metavar="TEXT", help="Send this text.")
@click.option("--input", "file", metavar="FILE|-", type=FILE_OR_STDIN, help="Send this file; - is standard input.")
@click.option("-H", "--header", "headers", type=HeaderType(), multiple=True, help="Send a header.")
@click.option("-X", "--method", help="Usually GET, or POST with something to send.")
@click.option("--path", default="/", show_default=True, help="The path, and query, behind the function's name.")
@click.option("-i", "--include", is_flag=True, help="Print status and headers, too.")
@click.option(
    "--timeout", "timeout_s", type=DURATION, default=CALL_S, show_default=True,
    metavar="DURATION", help="Wait no longer for the answer.",
)  # fmt: skip
@remote_command
def invoke(
    remote: Remote,
    name: str,
    *,
    revision: str | None,
    data: str | None,
    file: Path | None,
    headers: Headers,
    method: str | None,
    path: str,
    include: bool,
    timeout_s: float,
) -> None:
    """Call a function and print what it answers. Exit code 1 for a status of 400 or more."""
    if data is not None and file is not None:
        raise click.UsageError("--data and --input exclude each other.")
    if data is None and file is None:
        refuse_piped_input()
    body = data.encode() if data is not None else _read(file)
    target = path if path.startswith(("/", "?")) else f"/{path}"
    request = Request(
        method=(method or ("GET" if body is None else "POST")).upper(),
        uri=quote(target, safe=ENCODED),
        headers=headers if body is None else _with_type(headers, body),
        body=body or b"",
    )
    client = remote.client.within(timeout_s)
    if revision is not None and revision != DEFAULT:
        _check_revision(client, name, revision)
    remote.if_interrupted = f"{name} may go on with the call"
    try:
        answer = client.invoke(name, request, revision, timeout_s)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    if NO_ROUTE in answer.body and not (include or remote.display.as_json):
        raise click.ClickException(f"there is no function {name}, or none of its revisions gets its calls.")
    _show(remote, answer, include=include)
    if answer.status >= FAILURES:
        warn(f"{name} answered {answer.status}")
        raise Exit(FAILED)


@click.command
@click.argument("name", type=NAME, shell_complete=offer(list_functions))
@click.option("--revision", type=NAME, help="Which version; may be left out when it is clear.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@remote_command
def logs(remote: Remote, name: str, revision: str | None, *, follow: bool) -> None:
    """Print what the replicas of a function logged lately, and the last ones that ended.

    Calls that ran as jobs have logs of their own.
    """
    chosen = pick_revision(remote.client.function(name), revision)
    if follow and remote.display.as_json:
        raise click.UsageError("--json and --follow exclude each other.")
    if follow:
        parts = remote.patient_client.follow_function_log(name, chosen.name)
        _print(parts, several=len(chosen.replicas) > 1)
        return
    kept = remote.client.function_log(name, chosen.name)
    if remote.display.as_json:
        remote.display.document([to_document(part) for part in kept])
    else:
        _print((part for part in kept if part.text), several=len(kept) > 1)


def _print(parts: Iterable[ReplicaLog], *, several: bool) -> None:
    """Print parts of logs; where they are of several replicas, with lines that tell whose what follows is."""
    last: ReplicaLog | None = None
    for part in parts:
        if several if last is None else (part.replica, part.ended_at) != (last.replica, last.ended_at):
            ended = f", ended {format_moment(part.ended_at)}" if part.ended_at else ""
            write_text(f"==> {part.worker_name} {part.replica}{ended} <==\n")
        write_text(part.text)
        last = part


def _check_revision(client: Client, name: str, revision: str) -> None:
    """Raise NotFound for a revision that is not there: in a call its name would be a part of the path.

    Who may only call, and not look, is not told; nor is this known of a proxy alone.
    """
    try:
        function = client.function(name)
    except (NotFound, Refused):
        return
    find_revision(function, revision)


def _read(file: Path | None) -> bytes | None:
    if file is None:
        return None
    return sys.stdin.buffer.read() if file == STDIN else file.read_bytes()


def _with_type(headers: Headers, body: bytes) -> Headers:
    """Add what the body is, unless that was said."""
    if any(name.lower() == "content-type" for name, _ in headers):
        return headers
    return (*headers, ("Content-Type", _guess_type(body)))


def _guess_type(body: bytes) -> str:
    try:
        json.loads(body)
    except UnicodeDecodeError:
        return "application/octet-stream"
    except ValueError:
        return "text/plain; charset=utf-8"
    return "application/json"


def _show(remote: Remote, answer: Response, *, include: bool) -> None:
    if remote.display.as_json:
        content = to_document(Content.of(answer.body, packed=False))
        remote.display.document({"status": answer.status, "headers": dict(answer.headers)} | content)
        return
    if include:
        remote.display.line(answer.status)
        for name, value in answer.headers:
            remote.display.line(f"{name}: {value}")
        remote.display.line("")
    write_output([answer.body])
