"""`piecework top`: the command."""

import shutil
import sys

import rich_click as click
from rich.console import Console

from piecework.cli.remote import Remote, remote_command
from piecework.cli.top.board import INTERVALS_S, Board
from piecework.cli.top.drawing import draw_once
from piecework.cli.top.snapshot import Wish, take_snapshot

EVERY = click.Choice([f"{each:g}" for each in INTERVALS_S])
WIDE = 200
"""Cells of a line where no terminal says how many there are."""


@click.command
@click.option("--once", is_flag=True, help="Print what there is now, and end.")
@click.option(
    "--every", "interval", type=EVERY, default="2", show_default=True, help="Look again so often, seconds."
)
@remote_command
def top(remote: Remote, once: bool, interval: str) -> None:
    """Show a server live: what waits for which workers, lambdas, workers and jobs, and how quickly they go.

    Keys: 1 to 4 choose a table, Enter opens a row, / filters, s sorts, c cancels and t runs a job again, ? shows
    all of them. Where no terminal is, and with --once, it prints one picture and ends; with --json as a document.
    """
    if remote.display.as_json:
        remote.display.document(take_snapshot(remote.client, Wish()).document())
    elif once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        width = shutil.get_terminal_size((WIDE, 0)).columns if sys.stdout.isatty() else WIDE
        for line in draw_once(take_snapshot(remote.client, Wish()), width):
            remote.display.line(line.plain)
    else:
        from piecework.cli.top.live import run_live  # noqa: PLC0415  # a pipe, and Windows, have no terminal

        run_live(remote.client, Board(interval_s=float(interval)), Console(highlight=False))
