"""`piecework server proxy`."""

from pathlib import Path
from typing import Any

import rich_click as click

from piecework.server.cli.options import listen_options, load_settings, log_option, routes_option, store_options
from piecework.server.cli.starting import run_part
from piecework.server.web.parts import PROXY

PORT, DATA = 8888, Path("piecework-proxy")


@click.command
@listen_options(PORT)
@store_options(DATA)
@routes_option
@click.option("--open", "functions_open", is_flag=True, help="Let everybody call functions, also without a token.")
@log_option
def proxy(functions_open: bool, **given: Any) -> None:
    """Run a reverse proxy for functions alone, on Capsule's paths, until SIGTERM or Ctrl-C."""
    settings = load_settings({"port": PORT, "data": DATA}, functions_open=functions_open or None, **given)
    run_part(PROXY, settings)
