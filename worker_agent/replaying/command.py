"""``worker-agent replay``: does a run again on this machine, and says whether it came to the same.

What it needs to do that is imported when it does it: the agent starts without it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import platformdirs

from piecework.protocol.bodies import encode
from piecework.worker_agent.config.setting_texts import MIB
from piecework.worker_agent.config.settings import Settings, SettingsError
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.runtimes import ENGINES, Engine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from piecework.worker_agent.replaying.replay import ReplayNode

TIMEOUT_S = 3600.0


@click.command(
    "replay",
    context_settings={"help_option_names": ["-h", "--help"]},
    short_help="Do a run again.",
)
@click.argument("bundle", metavar="BUNDLE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--engine", type=click.Choice(ENGINES), default="cranelift", help="[cranelift]")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=TIMEOUT_S,
    metavar="S",
    help=f"Give up after this.  [{TIMEOUT_S:g}]",
)
@click.option("--compile-memory", type=click.IntRange(min=64), default=2048, metavar="MB", help="[2048]")
@click.option("--json", "as_json", is_flag=True, help="Say it for programs.")
def replay_run(bundle: Path, engine: Engine, timeout_s: float, compile_memory: int, *, as_json: bool) -> int:
    """Do a run again from its bundle, with nothing granted, and say whether it came to the same.

    The exit code is 0 when it is identical, 1 when it differs, and 3 when nothing follows: the run ended in a way
    that depends on the machine, or its journal was full before.
    """
    from piecework.receipts.bundle import Bundle  # noqa: PLC0415
    from piecework.receipts.errors import ReceiptError  # noqa: PLC0415
    from piecework.receipts.replays import EXITS, describe_replay  # noqa: PLC0415
    from piecework.worker_agent.replaying.replay import replay  # noqa: PLC0415

    node = open_node(os.environ, compile_memory)
    try:
        with Bundle(bundle) as opened:
            opened.check_parts()
            found = replay(opened, node, engine=engine, timeout_s=timeout_s)
    except ReceiptError as error:
        raise AgentError(str(error)) from error
    if as_json:
        sys.stdout.buffer.write(encode(found) + b"\n")
        sys.stdout.flush()
    else:
        click.echo(describe_replay(found))
    return EXITS[found.verdict]


def open_node(environ: Mapping[str, str], compile_mb: int) -> ReplayNode:
    """Return what this machine has for replays. Raises click.UsageError for settings that cannot be used."""
    from piecework.worker_agent.replaying.replay import ReplayNode  # noqa: PLC0415  # as above

    try:
        settings = Settings(**(Settings.from_env(environ) | {"runtimes": None}))
    except SettingsError as error:
        raise click.UsageError("\n  ".join(["these settings cannot be used:", *error.args])) from error
    state = settings.state or platformdirs.user_state_path("piecework") / "functions"
    return ReplayNode(state / "compiled", settings.interpreters_path, compile_mb * MIB)
