"""`piecework server migrate`, `backup` and `restore`."""

from pathlib import Path

import rich_click as click

from server.cli.options import load_settings, one_line_failures, store_options
from server.startup import DirectoryLock
from server.store.database import open_database
from server.store.schema import upgrade_schema


@click.command
@store_options
def migrate(data: Path | None, database_url: str | None) -> None:
    """Bring the database to this program's schema. Stop the servers that use it first; safe to repeat."""
    settings = load_settings(data=data, database_url=database_url)
    with one_line_failures():
        settings.data.mkdir(parents=True, exist_ok=True)
        with DirectoryLock(settings.data):
            database = open_database(settings.url)
            try:
                before, after = upgrade_schema(database.engine)
            finally:
                database.close()
    click.echo(
        f"schema version {after}, as before"
        if before == after
        else f"schema version {before or 'none'} -> {after}"
    )
