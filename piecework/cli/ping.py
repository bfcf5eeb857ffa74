"""`piecework ping`."""

import time

import rich_click as click

from piecework.cli.figures import format_duration
from piecework.cli.remote import Remote, remote_command


@click.command
@remote_command
def ping(remote: Remote) -> None:
    """Ask the server whether it is alive."""
    client = remote.client
    version = client.version()
    began = time.perf_counter()
    message = client.ping()
    took_s = time.perf_counter() - began
    if remote.display.as_json:
        answer = {"url": client.url, "message": message, "version": version, "round_trip_s": took_s}
        remote.display.document(answer)
    else:
        remote.display.line(f"{message} from {client.url}, version {version}, in {format_duration(took_s)}")
