"""Which server a program means that names none."""

import os
from collections.abc import Mapping, Sequence

from piecework.http.urls import read_urls
from piecework.tracing import VARIABLE, read_traceparent

URL_VARIABLE, TOKEN_VARIABLE = "PIECEWORK_URL", "PIECEWORK_TOKEN"
USUAL_URL = "http://127.0.0.1:8000"


def find_server(
    url: str | Sequence[str] | None, token: str | None, environ: Mapping[str, str] = os.environ
) -> tuple[str | Sequence[str], str]:
    """Return URL (or several) and token that were given, or else those of the environment; "" for no token.

    Raises ValueError when what the environment says is no URL.
    """
    if url is None:
        url = environ.get(URL_VARIABLE) or USUAL_URL
        try:
            read_urls(url)
        except ValueError as error:
            raise ValueError(f"{URL_VARIABLE}: {error}") from error
    return url, environ.get(TOKEN_VARIABLE, "") if token is None else token


def find_traceparent(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the trace context in which this program was started, if there is one."""
    return read_traceparent(environ.get(VARIABLE))
