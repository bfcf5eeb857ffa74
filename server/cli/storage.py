"""`piecework server backup` and `restore`."""

from pathlib import Path

import rich_click as click

from piecework.cli.screen.figures import format_bytes
from piecework.server.cli.options import load_settings, one_line_failures, store_options
from piecework.server.logs import open_log
from piecework.server.services.backups import Contents, restore_backup, write_backup
from piecework.server.settings import Settings

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command
@click.argument("file", type=FILE)
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
@store_options()
def backup(file: Path, force: bool, data: Path | None, database_url: str | None) -> None:
    """Write all that the server stores into one file, also while the server works.

    The file has jobs, lambdas, workers, blobs, and the digests of tokens: keep it as you keep the data itself.
    """
    settings = load_settings(data=data, database_url=database_url)
    open_log("console")
    with one_line_failures():
        _report(str(file), write_backup(settings, file, overwrite=force))


@click.command
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), default=Settings.data, metavar="DIR", help="Directory to fill."
)
def restore(file: Path, data: Path) -> None:
    """Fill a new data directory from a backup. It must be empty, or not there yet."""
    with one_line_failures():
        _report(str(data), restore_backup(file, data))


def _report(place: str, contents: Contents) -> None:
    blobs = f"{contents.blobs} large blobs with {format_bytes(contents.blob_bytes)}"
    click.echo(f"{place}: a database of {format_bytes(contents.database_bytes)}, {blobs}")
