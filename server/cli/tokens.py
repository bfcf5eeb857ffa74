"""`piecework server token …`: who may use the server."""

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import rich_click as click

from piecework.cli.options.terms import MOMENT_OR_DURATION, RATE, Rate
from piecework.cli.screen.display import Display
from piecework.server.cli.options import load_settings, opened_database, store_options
from piecework.server.services import system_clock
from piecework.server.services.tokens import access, token_acts
from piecework.server.services.tokens.token_acts import show_quota
from piecework.server.store.engine.database import Database
from piecework.server.store.stock.quotas import Quota
from piecework.server.store.stock.tokens import Token
from piecework.text.durations import DAY_S, DURATION_OR_ZERO

COLUMNS = ["name", "scope", "state", "quota", "created", "last used", "expires", "revoked"]

expires_option = click.option(
    "--expires",
    type=MOMENT_OR_DURATION,
    metavar="TIME|DURATION",
    help="Refuse it from then on: 90d, 2027-01-31T12:00+01:00.",
)
lambdas_option = click.option(
    "--lambda",
    "lambdas",
    multiple=True,
    metavar="ID|NAME",
    help="Let it submit jobs of this lambda, and call the function of this name, and nothing else; repeatable.",
)
queued_option = click.option(
    "--max-queued", type=click.IntRange(min=1), metavar="N", help="Let so many of its jobs be unfinished at once."
)
rate_option = click.option(
    "--rate", type=RATE, metavar="N/DURATION", help="Let it submit so many jobs in that time, such as 100/1m."
)


@click.group
def token() -> None:
    """Make, list, change, rotate and revoke access tokens."""


@token.command
@click.argument("name")
@click.option("--scope", type=click.Choice(list(access.GRANTS)), required=True, help="What it may do.")
@expires_option
@lambdas_option
@queued_option
@rate_option
@store_options()
def create(  # one parameter for each option
    name: str,
    scope: str,
    expires: datetime | None,
    lambdas: tuple[str, ...],
    max_queued: int | None,
    rate: Rate | None,
    data: Path | None,
    database_url: str | None,
) -> None:
    """Make a token and print its secret, once.

    view: read. invoke: call functions, and nothing else. submit: add and cancel jobs, too. worker: an agent's
    part, and nothing else. operate: drain and retire workers, deploy and route functions, too. admin: everything.
    As soon as a token was made, every request needs one. Tokens of submit and invoke can have a quota: --lambda,
    --max-queued, --rate.
    """
    quota = _change_quota(Quota(), lambdas, max_queued, rate)
    with _server_database(data, database_url) as database:
        click.echo(
            token_acts.create_token(database, name, scope, system_clock(), expires_at=_to_ms(expires), quota=quota)
        )


@token.command
@click.argument("name")
@lambdas_option
@queued_option
@rate_option
@click.option(
    "--no",
    "without",
    type=click.Choice(["lambda", "max-queued", "rate"]),
    multiple=True,
    help="Take this part of its quota away; repeatable.",
)
@store_options()
def change(  # one parameter for each option
    name: str,
    lambdas: tuple[str, ...],
    max_queued: int | None,
    rate: Rate | None,
    without: tuple[str, ...],
    data: Path | None,
    database_url: str | None,
) -> None:
    """Change the quota of a token; what is not named stays.

    It counts within a second on servers that run, for both secrets after a rotation. --lambda names all that it
    may use from then on.
    """
    given = {"lambda": lambdas, "max-queued": max_queued, "rate": rate}
    if not (without or any(given.values())):
        raise click.UsageError("give --lambda, --max-queued, --rate or --no.")
    if both := [each for each in without if given[each]]:
        raise click.UsageError(f"--{both[0]} and --no {both[0]} contradict each other.")

    def make(quota: Quota) -> Quota:
        gone = {_FIELDS[each]: getattr(Quota(), _FIELDS[each]) for each in without}
        kept = msgspec.structs.replace(quota, **gone)
        if kept.rate is None:
            kept = msgspec.structs.replace(kept, period_ms=Quota().period_ms)
        return _change_quota(kept, lambdas, max_queued, rate)

    with _server_database(data, database_url) as database:
        token_acts.change_token(database, name, system_clock(), make)
    click.echo(f"token {name} is changed")


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_options()
def list_(as_json: bool, data: Path | None, database_url: str | None) -> None:
    """List the tokens, without their secrets. When they were used last is known to a minute or so."""
    with _server_database(data, database_url) as database:
        found, now = token_acts.list_tokens(database), system_clock()
    display = Display(as_json=as_json)
    if as_json:
        display.document([_to_document(each, now) for each in found])
    else:
        display.table(COLUMNS, [_to_row(each, now) for each in found], less=("created",))


@token.command
@click.argument("name")
@click.option(
    "--overlap",
    type=DURATION_OR_ZERO,
    default=float(DAY_S),
    metavar="DURATION",
    help="Let the old secret in for so long; 1d unless given, 0 for not at all.",
)
@expires_option
@store_options()
def rotate(
    name: str, overlap: float, expires: datetime | None, data: Path | None, database_url: str | None
) -> None:
    """Make a new secret for a token and print it, once.

    It has the same name and scope. Without --expires it goes on as long as the one before was made for. The old
    secret is let in until the overlap is over; until then the list has both.
    """
    with _server_database(data, database_url) as database:
        secret = token_acts.rotate_token(
            database, name, system_clock(), overlap_ms=round(overlap * 1000), expires_at=_to_ms(expires)
        )
    click.echo(secret)


@token.command
@click.argument("name")
@store_options()
def revoke(name: str, data: Path | None, database_url: str | None) -> None:
    """Make a token invalid, within a second on servers that run; after a rotation, both of the name."""
    with _server_database(data, database_url) as database:
        token_acts.revoke_token(database, name, system_clock())
    click.echo(f"token {name} is revoked")


_FIELDS = {"lambda": "lambdas", "max-queued": "queued_max", "rate": "rate"}
"""Of a quota, by the options that set them."""


def _change_quota(quota: Quota, lambdas: tuple[str, ...], max_queued: int | None, rate: Rate | None) -> Quota:
    """Return a quota with what was given."""
    given: dict[str, object] = {}
    if lambdas:
        given["lambdas"] = lambdas
    if max_queued is not None:
        given["queued_max"] = max_queued
    if rate is not None:
        given |= {"rate": rate[0], "period_ms": round(1000 * rate[1])}
    return msgspec.structs.replace(quota, **given)


def _server_database(data: Path | None, database_url: str | None) -> AbstractContextManager[Database]:
    return opened_database(load_settings(data=data, database_url=database_url), new=False)


def _to_ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)


def _to_document(each: Token, now: int) -> dict[str, object]:
    quota = each.quota or Quota()
    times = {name: getattr(each, name) for name in ("created_at", "used_at", "expires_at", "revoked_at")}
    return {
        "name": each.name,
        "scope": each.scope,
        "state": _find_state(each, now),
        "lambdas": list(quota.lambdas),
        "max_queued": quota.queued_max,
        "rate": quota.rate,
        "period_s": None if quota.rate is None else quota.period_ms / 1000,
        **{name: None if at is None else at / 1000 for name, at in times.items()},
    }


def _to_row(each: Token, now: int) -> list[str]:
    times = (each.created_at, each.used_at, each.expires_at, each.revoked_at)
    return [each.name, each.scope, _find_state(each, now), show_quota(each.quota), *map(_show_time, times)]


def _find_state(each: Token, now: int) -> str:
    if each.revoked_at is not None:
        return "revoked"
    return "expired" if each.has_expired(now) else "live"


def _show_time(at: int | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
