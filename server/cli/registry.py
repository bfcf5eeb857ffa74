"""`piecework server registry`."""

from pathlib import Path
from typing import Any

import rich_click as click

from piecework.server.cli.options import listen_options, load_settings, log_option, store_options
from piecework.server.cli.starting import run_part
from piecework.server.web.parts import REGISTRY

PORT, DATA = 4999, Path("piecework-registry")


@click.command
@listen_options(PORT)
@store_options(DATA)
@click.option("--mutable-tags", is_flag=True, help="Let an upload replace a module under a tag that is taken.")
@log_option
def registry(mutable_tags: bool, **given: Any) -> None:
    """Run a registry of wasm modules alone, on Capsule's paths, until SIGTERM or Ctrl-C."""
    settings = load_settings({"port": PORT, "data": DATA}, mutable_tags=mutable_tags or None, **given)
    run_part(REGISTRY, settings)
