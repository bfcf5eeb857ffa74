"""`piecework server run`."""

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import rich_click as click

from server.cli.options import (
    Misuse,
    load_settings,
    one_line_failures,
    opened_database,
    own_database,
    store_options,
)
from server.journal import FORMATS, open_journal
from server.services import access
from server.serving import serve
from server.settings import MIB, Settings
from server.startup import choose_port


@click.command
@click.option("--host", metavar="HOST", help="Address to listen on; 127.0.0.1 unless given (PIECEWORK_HOST).")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on; 8000 unless given, 0 for a free one."
)
@store_options
@click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="Wall time of jobs that give none.")
@click.option(
    "--memory", "memory_mb", type=click.IntRange(min=1), metavar="MB", help="Memory of jobs that give none."
)
@click.option("--max-attempts", type=click.IntRange(min=1), metavar="N", help="Attempts of jobs that give none.")
@click.option("--waiters", "waiters_max", type=click.IntRange(min=1), metavar="N", help="Polls held at once.")
@click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default="console",
    show_default=True,
    envvar="PIECEWORK_LOG_FORMAT",
    help="For people, or one JSON object a line.",
)
def run(log_format: str, memory_mb: int | None, **given: Any) -> None:
    """Run the control server until SIGTERM or Ctrl-C.

    Every other setting is a PIECEWORK_… variable; the operations page lists them.
    """
    memory_bytes = None if memory_mb is None else memory_mb * MIB
    settings = load_settings(memory_bytes=memory_bytes, **given)
    open_journal(log_format)
    with ExitStack() as held:
        serve(_prepare(settings, held), log_format)


def _prepare(settings: Settings, held: ExitStack) -> Settings:
    """Make sure that the server can start here, and return the settings with the port that it will have.

    What must stay as it is while the server runs is entered into ``held``. Raises Refusal when it cannot start.
    """
    with one_line_failures():
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        held.enter_context(own_database(settings))
        with opened_database(settings, owned=True) as database:
            if not settings.is_loopback and not access.has_tokens(database):
                raise Misuse(_no_token_line(settings))
        return replace(settings, port=choose_port(settings.host, settings.port))


def _no_token_line(settings: Settings) -> str:
    place = f" --data {settings.data}" if settings.data != Settings.data else ""
    return (
        f"on {settings.host} anybody could use this server: make a token first, with"
        f" piecework server token create NAME --scope admin{place}"
    )
