"""The code of a lambda: where it comes from, and what runs it."""

import sys
from pathlib import Path

import rich_click as click

from piecework.cli.data import put_file
from piecework.cli.options import STDIN
from piecework.client import Client
from piecework.modules import DEFAULT, ModuleError, check_code, inspect_code
from piecework.protocol.ids import Id


def read_code(client: Client, source: Path | Id) -> bytes:
    """Return the code that a file, standard input, a blob or a lambda has."""
    if isinstance(source, Id):
        return client.read(source)
    return sys.stdin.buffer.read() if source == STDIN else source.read_bytes()


def put_code(client: Client, source: Path | Id, runtime: str | None) -> tuple[Id, str]:
    """Return the blob with the code, which is uploaded when it is a file, and its runtime.

    The runtime is found out unless it is given; code for which that cannot be done is not uploaded.
    """
    if runtime is not None:
        return (source if isinstance(source, Id) else put_file(client, source).id), runtime
    code = read_code(client, source)
    runtime = _detect_runtime(code)
    return (source if isinstance(source, Id) else client.upload(code).id), runtime


def _detect_runtime(code: bytes) -> str:
    try:
        check_code(DEFAULT, code)
        found = inspect_code(code)
    except ModuleError as error:
        raise click.ClickException(f"the code cannot run: {error}.") from error
    if found.default is None:
        raise click.ClickException(f"the code is {found.kind}, no wasm module: name what runs it with --runtime.")
    return found.default
