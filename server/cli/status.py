"""`piecework server status` and `compact`: what takes the disk, and giving back what is free."""

from pathlib import Path

import msgspec
import rich_click as click

from piecework.cli.remote import Remote, remote_command
from piecework.cli.screen.display import to_document
from piecework.cli.screen.figures import format_bytes
from piecework.protocol.messages import Amount
from piecework.server.cli.options import load_settings, one_line_failures, own_database, store_options
from piecework.server.store.engine.pages import compact as write_anew


@click.command
@remote_command
def status(remote: Remote) -> None:
    """Show what takes the disk of a running server, and what the sweep is about to remove."""
    found = remote.client.storage()
    if remote.display.as_json:
        remote.display.document(to_document(found))
        return
    jobs = {name: f"{count:,}" for name, count in msgspec.structs.asdict(found.jobs).items() if count}
    remote.display.fields(
        {
            "database": format_bytes(found.database_bytes),
            "of that free": format_bytes(found.free_bytes) + ("" if found.gives_back else ", never given back"),
            "write-ahead log": format_bytes(found.log_bytes),
            "jobs": ", ".join(f"{count} {name}" for name, count in jobs.items()) or "none",
            "events": f"about {found.events:,}",
            "logs": _describe(found.logs),
            "blobs in the database": _describe(found.blobs),
            "large blobs": f"{_describe(found.stored)}, in {found.stored_in or 'the directory'}",
            "jobs to remove now": f"{found.due:,}, with about {format_bytes(found.due_bytes)} of the database",
        }
    )


def _describe(amount: Amount) -> str:
    more = "more than " if amount.more else ""
    return f"{more}{amount.count:,}, {more and 'these '}{format_bytes(amount.bytes)}"


@click.command
@store_options()
def compact(data: Path | None, database_url: str | None) -> None:
    """Write a SQLite file anew without what is free in it, so that it gives room back by itself from then on.

    Stop the server first. It takes as much room again as the file has, and about a minute for each 2 GB.
    """
    settings = load_settings(data=data, database_url=database_url)
    if settings.database_url and not settings.database_url.startswith("sqlite:"):
        raise click.UsageError("PostgreSQL gives free room back by itself: its autovacuum does it.")
    with one_line_failures(), own_database(settings):
        if not settings.database_file.exists():
            raise click.ClickException(f"there is no database at {settings.database_file}.")
        before, after = write_anew(settings.database_file)
    click.echo(f"{settings.database_file}: {format_bytes(before)} -> {format_bytes(after)}")
