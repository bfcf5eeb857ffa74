"""Modules in OCI registries, in place of files and of modules of the server's registry: ``oci://HOST/NAME:TAG``.

This machine pulls them and sends the server their bytes: servers and agents ask no registry.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, overload

import rich_click as click

from piecework.cli.failures import warn
from piecework.cli.options.kinds import FILE_OR_ID, FILE_OR_LAMBDA, FILE_OR_STDIN, MODULE, STDIN
from piecework.cli.screen.progress import receiving
from piecework.oci.options import PLAIN_HTTP_HELP, OrReference
from piecework.oci.references import Reference
from piecework.protocol.ids import Id

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Fetched: TypeAlias = AbstractContextManager[tuple[T, str]]
MODULE_OR_OCI = OrReference(MODULE)
FILE_OR_OCI = OrReference(FILE_OR_STDIN)
FILE_ID_OR_OCI = OrReference(FILE_OR_ID)
FILE_LAMBDA_OR_OCI = OrReference(FILE_OR_LAMBDA)
BUILD_TIME = "SOURCE_DATE_EPOCH"
"""The variable in which builds that can be repeated have their time, seconds since 1970."""


def plain_http_option(command: F) -> F:
    """Add ``--plain-http``."""
    return click.option("--plain-http", is_flag=True, help=PLAIN_HTTP_HELP)(command)


@overload
def fetched(source: Path | Reference, *, plain_http: bool, ca: Path | None = ...) -> Fetched[Path]: ...
@overload
def fetched(source: Path | Id | Reference, *, plain_http: bool, ca: Path | None = ...) -> Fetched[Path | Id]: ...
@overload
def fetched(
    source: Path | Id | str | Reference, *, plain_http: bool, ca: Path | None = ...
) -> Fetched[Path | Id | str]: ...
@contextmanager
def fetched(source: Any, *, plain_http: bool, ca: Path | None = None) -> Iterator[tuple[Any, str]]:
    """Give code that may be in an OCI registry: as the file that it was pulled to, with its pinned reference.

    Other code is given as it is, with "". Says which digest a tag had. Raises click.ClickException.
    """
    if not isinstance(source, Reference):
        yield source, ""
        return
    from piecework.oci import pulling  # noqa: PLC0415  # few commands need it

    with ExitStack() as stack:
        with _failing_in_one_line(), _showing(source.file) as show:
            path, pulled = stack.enter_context(pulling.fetched(source, _access(ca, plain_http=plain_http), show))
        if not source.digest:
            warn(f"pulled {pulled.reference}")
        yield path, str(pulled.reference)


def pull(source: Reference, path: Path, *, plain_http: bool, ca: Path | None) -> dict[str, object]:
    """Write a module of an OCI registry to a file, and return what is known of it. Raises click.ClickException."""
    from piecework.oci.pulling import pull_module  # noqa: PLC0415  # as above

    with _failing_in_one_line(), _showing(path.name) as show:
        pulled = pull_module(source, path, _access(ca, plain_http=plain_http), show)
    return {"reference": str(pulled.reference), "digest": pulled.digest, "size": pulled.size, "file": str(path)}


def push(
    file: Path, target: Reference, annotations: dict[str, str], *, plain_http: bool, ca: Path | None
) -> Reference:
    """Store a file, or standard input, in an OCI registry; return the reference with its digest.

    Raises click.ClickException.
    """
    from piecework.oci.manifests import MODULE_MAX_BYTES  # noqa: PLC0415  # as above
    from piecework.oci.pushing import push_module  # noqa: PLC0415

    if file == STDIN:
        code = sys.stdin.buffer.read(MODULE_MAX_BYTES + 1)
    else:
        with file.open("rb") as source:
            code = source.read(MODULE_MAX_BYTES + 1)
    with _failing_in_one_line(), _showing(target.file) as show:
        return push_module(
            target,
            code,
            _access(ca, plain_http=plain_http),
            title=target.file if file == STDIN else file.name,
            created=_find_time(file),
            annotations=annotations,
            on_bytes=show,
        )


def _access(ca: Path | None, *, plain_http: bool) -> Any:
    from piecework.oci.exchange import RegistryAccess  # noqa: PLC0415  # as above

    return RegistryAccess(os.environ, Path.home(), plain_http=plain_http, ca=ca)


def _find_time(file: Path) -> datetime:
    """Return when a module was made, as far as is known: pushed again it is the same then."""
    given = os.environ.get(BUILD_TIME, "")
    if given.isascii() and given.isdigit() and len(given) < 12:
        return datetime.fromtimestamp(int(given), UTC)
    return datetime.now(UTC) if file == STDIN else datetime.fromtimestamp(file.stat().st_mtime, UTC)


@contextmanager
def _failing_in_one_line() -> Iterator[None]:
    from piecework.oci.errors import OciError  # noqa: PLC0415  # as above

    try:
        yield
    except OciError as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _showing(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar when there is much to send or to receive; the function that is given sets how much was."""
    bar: Callable[[int], None] | None = None
    with ExitStack() as stack:

        def show(come: int, size: int) -> None:
            nonlocal bar
            if bar is None:
                bar = stack.enter_context(receiving(label, size if sys.stderr.isatty() else 0))
            bar(come)

        yield show
