"""`piecework server …`: run a control server and look after what it stores."""

import rich_click as click

from piecework.cli.groups import LazyCommand

COMMANDS = {
    "run": ("piecework.server.cli.run:run", "Run the control server."),
    "registry": ("piecework.server.cli.registry:registry", "Run a registry of wasm modules alone."),
    "proxy": ("piecework.server.cli.proxy:proxy", "Run a reverse proxy for functions alone."),
    "migrate": (
        "piecework.server.cli.migrate:migrate",
        "Bring the database to this program's schema, or to another.",
    ),
    "status": (
        "piecework.server.cli.status:status",
        "Show what takes the disk of a running server, and what the sweep is about to remove.",
    ),
    "compact": (
        "piecework.server.cli.status:compact",
        "Write a SQLite file anew without what is free in it, so that it gives room back by itself from then on.",
    ),
    "blobs": ("piecework.server.cli.blobs:blobs", "Move large blobs to another store of them."),
    "backup": ("piecework.server.cli.storage:backup", "Write all that the server stores into one file."),
    "restore": ("piecework.server.cli.storage:restore", "Fill a new data directory from a backup."),
    "token": ("piecework.server.cli.tokens:token", "Make, list and revoke access tokens."),
}
"""Commands in the order of the help page; their modules are imported when they are used."""


@click.group("server", commands={name: LazyCommand(name, *target) for name, target in COMMANDS.items()})
def server_commands() -> None:
    """Run and look after a control server."""
