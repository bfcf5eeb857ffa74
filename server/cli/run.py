"""`piecework server run`."""

from typing import Any

import rich_click as click

from piecework.server.cli.options import listen_options, load_settings, log_option, routes_option, store_options
from piecework.server.cli.starting import run_part
from piecework.server.settings import MIB
from piecework.server.web.parts import WHOLE
from piecework.text.durations import DURATION


@click.command
@listen_options()
@store_options()
@routes_option
@click.option(
    "--timeout", "timeout_s", type=DURATION, metavar="DURATION", help="Wall time of jobs that give none."
)
@click.option(
    "--memory", "memory_mb", type=click.IntRange(min=1), metavar="MB", help="Memory of jobs that give none."
)
@click.option("--max-attempts", type=click.IntRange(min=1), metavar="N", help="Attempts of jobs that give none.")
@click.option("--waiters", "waiters_max", type=click.IntRange(min=1), metavar="N", help="Polls held at once.")
@click.option(
    "--console-acts",
    is_flag=True,
    default=None,
    help="Let the pages at /console change things, too, while there is no token (PIECEWORK_CONSOLE_ACTS).",
)
@log_option
def run(memory_mb: int | None, **given: Any) -> None:
    """Run the control server until SIGTERM or Ctrl-C.

    Every other setting is a PIECEWORK_… variable, or a key of a configuration file; docs/operations.md lists them.
    """
    memory_bytes = None if memory_mb is None else memory_mb * MIB
    run_part(WHOLE, load_settings(memory_bytes=memory_bytes, **given))
