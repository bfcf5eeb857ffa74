"""What `piecework server run` and its like do, once their options were read."""

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import structlog

from piecework.http.serving import leave_on_signals
from piecework.server.blobs import check_places
from piecework.server.cli.options import Misuse, one_line_failures, opened_database, own_database
from piecework.server.disks import describe_risk, find_network_disk
from piecework.server.errors import InvalidRequest
from piecework.server.logs import open_log
from piecework.server.services import system_clock
from piecework.server.services.core import Clock
from piecework.server.services.functions.functions import load_routes
from piecework.server.services.tokens import token_acts
from piecework.server.serving import serve
from piecework.server.settings import Settings
from piecework.server.startup import CannotStart, choose_host, choose_port
from piecework.server.store.engine.database import Database
from piecework.server.web.parts import Part
from piecework.variables import find_unknown

log = structlog.get_logger("server")


def run_part(part: Part, settings: Settings, clock: Clock = system_clock) -> None:
    """Serve a part until SIGTERM or Ctrl-C, by a clock. Raises CommandRefused when it cannot start here."""
    leave_on_signals()
    open_log(settings.log_format)
    for line in find_unknown(os.environ):
        log.warning(line)
    with ExitStack() as held:
        serve(_prepare(settings, held), part, clock)


def _prepare(settings: Settings, held: ExitStack) -> Settings:
    """Make sure that the server can start here. Returns the settings with the address and port that it will have.

    What must stay as it is while the server runs is entered into ``held``. Raises CommandRefused when it cannot.
    """
    with one_line_failures():
        name, settings = settings.host, replace(settings, host=choose_host(settings.host))
        if not settings.data.exists():
            _check_new(settings, name)
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        held.enter_context(own_database(settings))
        _look_at_disk(settings)
        check_places(settings)
        with opened_database(settings, owned=True) as database:
            if not settings.is_loopback and not token_acts.has_tokens(database):
                raise Misuse(_no_token_line(settings, name))
            if settings.routes_file:
                _load_routes(database, Path(settings.routes_file))
        return replace(settings, port=choose_port(settings.host, settings.port))


def _look_at_disk(settings: Settings) -> None:
    """Warn of a data directory in which SQLite's locks and shared memory cannot be relied on."""
    kind = None if settings.database_url else find_network_disk(settings.data)
    if kind:
        log.warning(describe_risk(kind), data=str(settings.data))


def _check_new(settings: Settings, name: str) -> None:
    """Raise Misuse or CannotStart when a new server could not start, before there is any of its data."""
    if not settings.is_loopback and not settings.database_url:
        raise Misuse(_no_token_line(settings, name, "piecework server migrate{place} and "))
    choose_port(settings.host, settings.port)


def _load_routes(database: Database, path: Path) -> None:
    from piecework.server.services.functions.routefile import RouteFileError, read_route_file  # noqa: PLC0415  # few have such a file

    try:
        load_routes(database, read_route_file(path), system_clock())
    except RouteFileError as error:
        raise CannotStart(str(error)) from error
    except InvalidRequest as error:
        raise CannotStart(f"{path}: {error}") from error


def _no_token_line(settings: Settings, name: str, before: str = "") -> str:
    place = f" --data {settings.data}" if settings.data != Settings.data else ""
    shown = name if name == settings.host else f"{name}, which is {settings.host},"
    return (
        f"on {shown} anybody could use this server: make a token first, with"
        f" {before.format(place=place)}piecework server token create NAME --scope admin{place}"
    )
