"""`piecework server token …`: who may use the server."""

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import rich_click as click

from piecework.cli.screen.display import Display
from piecework.server.cli.options import load_settings, opened_database, store_options
from piecework.server.services import access, system_clock
from piecework.server.store.engine.database import Database
from piecework.server.store.stock.tokens import Token


@click.group
def token() -> None:
    """Make, list and revoke access tokens."""


@token.command
@click.argument("name")
@click.option("--scope", type=click.Choice(list(access.GRANTS)), required=True, help="What it may do.")
@store_options()
def create(name: str, scope: str, data: Path | None, database_url: str | None) -> None:
    """Make a token and print its secret, once.

    view: read. invoke: call functions, and nothing else. submit: add and cancel jobs, too. worker: an agent's
    part, and nothing else. operate: drain and retire workers, deploy and route functions, too. admin: everything.
    As soon as a token was made, every request needs one.
    """
    with _server_database(data, database_url) as database:
        click.echo(access.create_token(database, name, scope, system_clock()))


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_options()
def list_(as_json: bool, data: Path | None, database_url: str | None) -> None:
    """List the tokens, without their secrets."""
    with _server_database(data, database_url) as database:
        found = access.list_tokens(database)
    display = Display(as_json=as_json)
    if as_json:
        display.document([_to_document(each) for each in found])
    else:
        display.table(["name", "scope", "created", "revoked"], [_to_row(each) for each in found])


@token.command
@click.argument("name")
@store_options()
def revoke(name: str, data: Path | None, database_url: str | None) -> None:
    """Make a token invalid, within a second on servers that run."""
    with _server_database(data, database_url) as database:
        access.revoke_token(database, name, system_clock())
    click.echo(f"token {name} is revoked")


def _server_database(data: Path | None, database_url: str | None) -> AbstractContextManager[Database]:
    return opened_database(load_settings(data=data, database_url=database_url), new=False)


def _to_document(each: Token) -> dict[str, object]:
    revoked_at = None if each.revoked_at is None else each.revoked_at / 1000
    return {"name": each.name, "scope": each.scope, "created_at": each.created_at / 1000, "revoked_at": revoked_at}


def _to_row(each: Token) -> list[str]:
    return [each.name, each.scope, _show_time(each.created_at), _show_time(each.revoked_at)]


def _show_time(at: int | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
