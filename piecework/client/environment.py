"""Which server a program means that names none."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from piecework.configuration.places import USUAL_URL, has_configuration
from piecework.http.urls import read_urls
from piecework.tracing import VARIABLE, read_traceparent

URL_VARIABLE, TOKEN_VARIABLE, CA_VARIABLE = "PIECEWORK_URL", "PIECEWORK_TOKEN", "PIECEWORK_CA"
TOKEN_FILE_VARIABLE = "PIECEWORK_TOKEN_FILE"  # noqa: S105  # the name of a variable


class ChosenServer(NamedTuple):
    """A server, and how it is talked to."""

    url: str | Sequence[str]
    token: str
    """"" for no token."""
    ca: Path | None
    """Certificates to trust; None for those that the environment names."""
    warnings: Sequence[str] = ()
    """What people should know of the files that said so."""


def find_server(
    url: str | Sequence[str] | None = None,
    token: str | None = None,
    ca: Path | None = None,
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> ChosenServer:
    """Return the server that was given, or else that of a profile, the environment or a configuration file.

    When URL and token are given and no profile, nothing is looked for. Raises ValueError when what the environment
    says is no URL, and ConfigError, which is one, for files that cannot be used.
    """
    if url is not None and token is not None and not profile:
        return ChosenServer(url, token, ca)
    environ = os.environ if environ is None else environ
    warnings: Sequence[str] = ()
    if profile or environ.get(TOKEN_FILE_VARIABLE) or has_configuration(environ):
        from piecework.configuration.keys import CLIENT  # noqa: PLC0415  # most have no file: theirs start sooner
        from piecework.configuration.layers import configure  # noqa: PLC0415

        given = url if url is None or isinstance(url, str) else ",".join(url)
        configured = configure(CLIENT, environ, url=given, profile=profile)
        environ, warnings = configured.environ, configured.warnings
        if ca is None and CA_VARIABLE in configured.values:
            ca = Path(environ[CA_VARIABLE])
    if url is None:
        url = environ.get(URL_VARIABLE) or USUAL_URL
        try:
            read_urls(url)
        except ValueError as error:
            raise ValueError(f"{URL_VARIABLE}: {error}") from error
    if token is None:
        token = environ.get(TOKEN_VARIABLE, "")
    return ChosenServer(url, token, ca, warnings)


def find_traceparent(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the trace context in which this program was started, if there is one."""
    return read_traceparent((os.environ if environ is None else environ).get(VARIABLE))
