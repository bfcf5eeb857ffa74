"""`piecework ping`."""

import time
from dataclasses import replace
from http.client import UNAUTHORIZED

import rich_click as click

from piecework.cli.remote import HASTY, Remote, remote_command
from piecework.client import Client, Refused
from piecework.text.durations import DURATION, format_duration

ANSWER_S = 1.0
"""A server that is well answers this sooner."""
LONGEST_S = 4 * ANSWER_S
"""Even one that answers bit by bit has no longer."""


@click.command
@click.option(
    "--timeout", "timeout_s", type=DURATION, metavar="DURATION",
    help="Wait no longer; otherwise about a second for each answer.",
)  # fmt: skip
@remote_command
def ping(remote: Remote, timeout_s: float | None) -> None:
    """Ask the server whether it is alive."""
    answer_s = timeout_s or ANSWER_S
    retries = replace(HASTY, connect_s=answer_s, read_s=answer_s, total_s=ANSWER_S)
    client = remote.client.with_retries(retries).within(timeout_s or LONGEST_S)
    version, refusal = _ask_version(client, has_token=remote.has_token)
    began = time.perf_counter()
    message = client.ping()
    took_s = time.perf_counter() - began
    url = client.transport.servers.used.url
    if remote.display.as_json:
        answer = {"url": url, "message": message, "version": version, "round_trip_s": took_s}
        if refusal:
            answer["refused"] = refusal
        remote.display.document(answer)
    else:
        rest = f"; for more, {refusal}" if refusal else ""
        shown = f", version {version}" if version else ""
        remote.display.line(f"{message} from {url}{shown}, in {format_duration(took_s)}{rest}")


def _ask_version(client: Client, *, has_token: bool) -> tuple[str | None, str]:
    """Return the server's version, or None and why it does not tell: who is let in no further may ask if it lives.

    Raises Refused for a token that is none.
    """
    try:
        return client.version(), ""
    except Refused as error:
        if has_token and error.http_status == UNAUTHORIZED:
            raise
        wanted = "it wants a token (--token or PIECEWORK_TOKEN)"
        return None, wanted if error.http_status == UNAUTHORIZED else error.message
