"""The code of a lambda: where it comes from, and what runs it."""

import sys
from collections.abc import Callable
from pathlib import Path

import rich_click as click

from piecework.cli.options.kinds import STDIN
from piecework.cli.stock.data import put_file
from piecework.client import Client, NotFound, Refused
from piecework.modules import DEFAULT, ModuleError, check_code, choose_runtime, resolve_runtime
from piecework.protocol.ids import Id
from piecework.protocol.messages import DataReply, LambdaCreate


def read_code(client: Client, source: Path | Id | str) -> bytes:
    """Return the code that a file, standard input, a blob or a lambda has."""
    if isinstance(source, str):
        source = client.lambda_(source).codex
    if isinstance(source, Id):
        return client.read(source)
    return sys.stdin.buffer.read() if source == STDIN else source.read_bytes()


def put_code(client: Client, source: Path | Id, runtime: str | None) -> tuple[Id, str]:
    """Return the blob with the code, which is uploaded when it is a file, and its runtime.

    The runtime is found out unless it is given; code for which that cannot be done is not uploaded.
    """
    code, found = find_runtime(client, source, runtime)
    return (source if isinstance(source, Id) else _upload(client, code).id), found


def put_lambda(
    client: Client,
    source: Path | Id,
    runtime: str | None,
    create: LambdaCreate,
    uploaded: Callable[[], object] = lambda: None,
) -> tuple[Id, str]:
    """Create a lambda from code and return its id and its runtime.

    Code that may be reused is not uploaded; ``uploaded`` is called when the code is there, before the lambda is.
    """
    code, create.runtime = find_runtime(client, source, runtime)
    if isinstance(source, Id):
        create.codex = source
        uploaded()
        return client.create_lambda(create), create.runtime
    if code == STDIN:
        code = sys.stdin.buffer.read()

    async def upload() -> DataReply:
        reply = _upload(client, code)
        uploaded()
        return reply

    return client.put_lambda(create, code, upload), create.runtime


def _upload(client: Client, code: Path | bytes) -> DataReply:
    return put_file(client, code) if isinstance(code, Path) else client.upload(code)


def find_runtime(client: Client, source: Path | Id, runtime: str | None) -> tuple[Path | bytes, str]:
    """Return the file with the code, or its bytes when they had to be read, and its runtime.

    Raises click.UsageError for a runtime that is unknown, click.ClickException for code that cannot run.
    """
    wanted = resolve_name(client, runtime or DEFAULT)
    if wanted != DEFAULT:
        return (b"" if isinstance(source, Id) else source), wanted
    code = read_code(client, source)
    try:
        check_code(DEFAULT, code)
        found = choose_runtime(DEFAULT, code, source.name if isinstance(source, Path) else "")
        check_code(found, code)
    except ModuleError as error:
        raise click.ClickException(f"the code cannot run: {error}.") from error
    return code, found


def resolve_name(client: Client, runtime: str) -> str:
    """Return the name of a runtime for what somebody calls it. Raises click.UsageError for one that is unknown."""
    try:
        return resolve_runtime(runtime, lambda: _list_offered(client))
    except ModuleError as error:
        raise click.UsageError(
            f"{error}. One of your own is known when an agent with it has registered."
        ) from error


def _list_offered(client: Client) -> list[str] | None:
    """Return what the server's workers offer; None when it does not tell us."""
    try:
        return [name for worker in client.workers() for name in worker.runtime]
    except (NotFound, Refused):
        return None
