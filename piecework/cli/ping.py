"""`piecework ping`."""

import time
from http.client import UNAUTHORIZED

import rich_click as click

from piecework.cli.figures import format_duration
from piecework.cli.remote import Remote, remote_command


@click.command
@remote_command
def ping(remote: Remote) -> None:
    """Ask the server whether it is alive."""
    client = remote.client
    version, refusal = _ask_version(remote)
    began = time.perf_counter()
    message = client.ping()
    took_s = time.perf_counter() - began
    if remote.display.as_json:
        answer = {"url": client.url, "message": message, "version": version, "round_trip_s": took_s}
        if refusal:
            answer["refused"] = refusal
        remote.display.document(answer)
    else:
        rest = f"; for more, {refusal}" if refusal else ""
        shown = f", version {version}" if version else ""
        remote.display.line(f"{message} from {client.url}{shown}, in {format_duration(took_s)}{rest}")


def _ask_version(remote: Remote) -> tuple[str | None, str]:
    """Return the server's version, or None and why it does not tell: who is let in no further may ask if it lives.

    Raises Refused for a token that is none.
    """
    from piecework.client import Refused  # noqa: PLC0415  # as slow to import as the client

    try:
        return remote.client.version(), ""
    except Refused as error:
        if remote.has_token and error.http_status == UNAUTHORIZED:
            raise
        wanted = "it wants a token (--token or PIECEWORK_TOKEN)"
        return None, wanted if error.http_status == UNAUTHORIZED else error.message
