"""`piecework function calls`: recorded calls, as those see them who ask why a gate did not let code pass."""

import time
from pathlib import Path

import rich_click as click
from msgspec import UNSET

from piecework.cli.failures import warn
from piecework.cli.options.completing import list_functions, offer
from piecework.cli.options.kinds import ID, NAME
from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.cli.screen.figures import format_age, format_bytes, format_moment, format_ms
from piecework.client.functions.functions import pick_revision
from piecework.http.exchange import Headers
from piecework.protocol.ids import Id
from piecework.protocol.messages import RecordedCallInfo
from piecework.receipts.recorded_calls import RecordedCall

LISTED = 20
QUESTIONS_SHOWN = 100
"""So many questions to the outside are shown."""
BODY_SHOWN = 2000
"""So many characters of a body are shown."""
COLUMNS = ("call", "request", "answer", "took", "fuel", "memory", "size", "began")


class FunctionOrRevision(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """``FUNCTION`` or ``FUNCTION/REVISION``."""

    name = "function"

    def convert(
        self, value: str | tuple[str, str | None], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str | None]:
        if isinstance(value, tuple):
            return value
        function, slash, revision = value.partition("/")
        name = NAME.convert(function, param, ctx)
        return name, NAME.convert(revision, param, ctx) if slash else None


@click.command
@click.argument(
    "function", metavar="NAME[/REVISION]", type=FunctionOrRevision(), shell_complete=offer(list_functions)
)
@click.argument("call", metavar="[CALL]", type=ID, required=False)
@click.option("--limit", type=click.IntRange(1), default=LISTED, show_default=True, help="List so many at most.")
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the call to this file, as it is kept.",
)
@click.option("--delete", is_flag=True, help="Remove all recorded calls of the revision.")
@remote_command
def calls(
    remote: Remote,
    function: tuple[str, str | None],
    call: Id | None,
    *,
    limit: int,
    file: Path | None,
    delete: bool,
) -> None:
    """List recorded calls of a function, newest first; or show one, with request and answer.

    Without REVISION they are those of the revision that gets the calls which name none.
    """
    if delete and call is not None:
        raise click.UsageError("--delete removes all recorded calls of a revision: name no CALL.")
    if file is not None and call is None:
        raise click.UsageError("-o goes with a CALL.")
    name, wanted = function
    chosen = pick_revision(remote.client.function(name), wanted)
    revision = chosen.name
    if delete:
        remote.display.line(remote.client.delete_recorded_calls(name, revision))
    elif call is None:
        found = list(remote.client.recorded_calls(name, revision, limit=limit))
        now = time.time()
        rows = [_row(each, now) for each in found]
        remote.display.listing(found, COLUMNS, rows, less=["size", "fuel", "memory", "began"])
        if chosen.record is UNSET:
            warn(f"calls of {name}/{revision} are not recorded: it was deployed without --record")
    else:
        _show(remote, name, revision, call, file)


def _row(info: RecordedCallInfo, now: float) -> tuple[object, ...]:
    return (
        info.id,
        f"{info.method} {info.uri}",
        _tell_answer(info),
        format_ms(1000 * info.took_s),
        "" if info.fuel is UNSET else f"{info.fuel:,}",
        format_bytes(info.memory_bytes),
        format_bytes(info.size),
        format_age(info.at, now),
    )


def _tell_answer(info: RecordedCallInfo) -> object:
    return f"failed: {info.error}" if info.status is UNSET else info.status


def _show(remote: Remote, function: str, revision: str, call: Id, file: Path | None) -> None:
    reply = remote.client.recorded_call(function, revision, call)
    if file is not None:
        file.write_bytes(reply.call)
        return
    found, info = RecordedCall.read_from(reply.call), reply.info
    response = found.response
    if remote.display.as_json:
        more = {"request": found.request._asdict(), "answer": None if response is None else response._asdict()}
        remote.display.document(to_document(info) | more)
        return
    remote.display.fields(
        {
            "call": info.id,
            "of": f"{function}/{revision}",
            "began": format_moment(info.at),
            "took": format_ms(1000 * info.took_s),
            "fuel": None if info.fuel is UNSET else f"{info.fuel:,}",
            "memory": format_bytes(info.memory_bytes),
            "request": f"{found.request.method} {found.request.uri}",
            "its headers": _list_headers(found.request.headers),
            "its body": _show_body(found.request.body),
            "answer": _tell_answer(info),
            "headers": None if response is None else _list_headers(response.headers),
            "body": None if response is None else _show_body(response.body),
            **{f"host call {n}": asked for n, asked in enumerate(found.list_questions()[:QUESTIONS_SHOWN], 1)},
        }
    )


def _list_headers(headers: Headers) -> list[str]:
    return [f"{name}: {value}" for name, value in headers]


def _show_body(body: bytes) -> str | None:
    """Return the beginning of a body as people read it; None when there is none."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return f"{len(body)} bytes that are no text; -o FILE writes the call"
    return f"{text[:BODY_SHOWN]} …" if len(text) > BODY_SHOWN else text or None
