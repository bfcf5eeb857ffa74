"""`piecework demo`."""

import os
from pathlib import Path

import rich_click as click
from rich.console import Console

from piecework.extras import SERVER, WORKER, require

NEEDED = ("sqlalchemy", "wasmtime")
"""Libraries that only one of the extras brings that the demo needs."""


@click.command
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    default="piecework-demo.png",
    show_default=True,
    help="Draw the picture into this file.",
)
def demo(picture: Path) -> None:
    """Run a server, two agents and over a hundred real jobs on this machine, and check what comes out.

    Counts the words of Python's own help texts, checked against Python's own count, and draws a part of the
    Mandelbrot set. It takes some seconds, needs nothing else that runs, and leaves nothing but the picture. The
    exit code is 1 when anything was not as it must be.
    """
    try:
        for library in NEEDED:
            require(library)
    except ModuleNotFoundError as error:
        message = f"the demo needs server and agent: run pip install 'piecework[{SERVER},{WORKER}]'"
        raise click.ClickException(message) from error
    if not os.access(picture.parent, os.W_OK):
        raise click.UsageError(f"{picture} cannot be written: choose another file with --picture.")
    from piecework.demo.show import DemoFailed, run_demo  # noqa: PLC0415  # takes longer than the help

    try:
        run_demo(picture, Console())
    except DemoFailed as error:
        raise click.ClickException(str(error)) from error
