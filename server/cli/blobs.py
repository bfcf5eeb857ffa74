"""`piecework server blobs …`: where large blobs are."""

from pathlib import Path

import rich_click as click

from piecework.cli.screen.figures import format_bytes
from piecework.server.blobs import move_blobs, open_place
from piecework.server.cli.options import load_settings, one_line_failures, store_options
from piecework.server.logs import open_log


@click.group
def blobs() -> None:
    """Look after the stores of large blobs."""


@blobs.command
@click.option("--keep", is_flag=True, help="Leave them where they were, too.")
@store_options()
def move(keep: bool, data: Path | None, database_url: str | None) -> None:
    """Move large blobs from where PIECEWORK_BLOBS_FROM says to where PIECEWORK_BLOBS says.

    Start the servers anew with both variables first: then they find a blob in either place, and work all the time.
    Afterwards they need PIECEWORK_BLOBS alone. It takes what it needs on the disk of the data directory, no more
    than four blobs at once, and checks each blob's digest. It may be ended and run again.
    """
    settings = load_settings(data=data, database_url=database_url)
    if not settings.blobs_from:
        raise click.UsageError("Say where they are with PIECEWORK_BLOBS_FROM: directory, or s3://BUCKET/PREFIX.")
    open_log("console")
    with one_line_failures():
        source, target = open_place(settings, settings.blobs_from), open_place(settings, settings.blobs)
        target.try_out()
        moved = move_blobs(source, target, keep=keep)
    click.echo(f"{moved.blobs:,} blobs with {format_bytes(moved.bytes)} moved from {source} to {target}")
    if moved.known:
        click.echo(f"{moved.known:,} were there already")
    if moved.damaged:
        shown = ", ".join(moved.damaged[:3])
        raise click.ClickException(f"{len(moved.damaged):,} have other bytes than theirs, and stay: {shown}")
