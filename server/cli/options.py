"""What the server's commands share: where the data is, and failures that end in one line."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from piecework.cli.failures import warn
from piecework.configuration.layers import configure
from piecework.configuration.places import ConfigError
from piecework.server.configuration import SECTION
from piecework.server.errors import ServerError
from piecework.server.services.backups import BackupError
from piecework.server.services.schema_at_start import prepare_schema
from piecework.server.settings import LOG_FORMATS, Settings, SettingsError
from piecework.server.startup import CannotStart, DirectoryLock
from piecework.server.store.engine.database import Database, is_there, open_database
from piecework.server.store.schema.standing import check_schema, current_revision

F = TypeVar("F", bound=Callable[..., Any])


class CommandRefused(click.ClickException):
    """The command cannot do here what was asked."""


class Misuse(CommandRefused):
    """The command was told to do something that it never does."""

    exit_code = 2


@contextmanager
def one_line_failures() -> Iterator[None]:
    """Turn expected failures into one line on stderr and exit code 1."""
    try:
        yield
    except (ConfigError, ServerError, SettingsError, CannotStart, BackupError) as error:
        raise CommandRefused(str(error)) from error


def store_options(place: Path = Settings.data) -> Callable[[F], F]:
    """Add the options that say where a server's data is: in ``place`` unless one is given."""
    data = click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help=f"Directory of the server's data; {place} unless given (PIECEWORK_DATA).",
    )
    url = click.option(
        "--database-url",
        metavar="URL",
        help="postgresql://… instead of SQLite in that directory (PIECEWORK_DATABASE_URL).",
    )
    return lambda command: data(url(command))


def listen_options(port: int = Settings.port) -> Callable[[F], F]:
    """Add the options that say where a server listens: on ``port`` unless another is given."""
    host = click.option(
        "--host",
        metavar="HOST",
        help="Address to listen on, or its name; 127.0.0.1 unless given (PIECEWORK_HOST).",
    )
    number = click.option(
        "--port",
        type=click.IntRange(0, 65535),
        help=f"Port to listen on; {port} unless given, 0 for a free one (PIECEWORK_PORT).",
    )
    return lambda command: host(number(command))


routes_option = click.option(
    "--config",
    "routes_file",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="YAML file with routes of functions, read at the start (PIECEWORK_ROUTES_FILE).",
)
log_option = click.option(
    "--log-format",
    type=click.Choice(LOG_FORMATS),
    help="For people, or one JSON object a line; console unless given (PIECEWORK_LOG_FORMAT).",
)


def load_settings(defaults: Mapping[str, Any] | None = None, **given: Any) -> Settings:
    """Return the settings: options before variables, files, ``defaults`` and those of all servers."""
    options = {name: value for name, value in given.items() if value is not None}
    with one_line_failures():
        configured = configure(SECTION)
        for line in configured.warnings:
            warn(line)
        try:
            return Settings(**{**(defaults or {}), **Settings.from_env(configured.environ), **options})
        except SettingsError as error:
            raise SettingsError(*configured.name_places(error.args, SECTION)) from error


@contextmanager
def own_database(settings: Settings) -> Iterator[None]:
    """Keep servers and other commands away from the SQLite file; a PostgreSQL database is for many.

    Raises CannotStart when someone works with the file.
    """
    if settings.database_url:
        yield
        return
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with DirectoryLock(settings.data):
        yield


@contextmanager
def opened_database(settings: Settings, *, owned: bool = False, new: bool = True) -> Iterator[Database]:
    """Open the database, with the program's schema; failures end in one line.

    A schema that must be made or upgraded first is not touched while someone else works with a SQLite file;
    ``owned`` says that the caller has it already. Without ``new`` there must be a server's data already: what is
    told to a database that nobody uses would be lost.
    """
    with one_line_failures():
        if not new and not is_there(settings.url):
            raise CommandRefused(_no_data_line(settings))
        database = open_database(settings.url, synchronous=settings.synchronous)
        try:
            if not new and current_revision(database) is None:
                raise CommandRefused(_no_data_line(settings))
            if not check_schema(database):
                with nullcontext() if owned else own_database(settings):
                    prepare_schema(database, settings.migrate)
            yield database
        finally:
            database.close()


def _no_data_line(settings: Settings) -> str:
    if settings.database_url:
        return "there is no server's data in this database; piecework server migrate would make it"
    return (
        f"there is no server's data in {settings.data.absolute()}: name its directory with --data, or make"
        f" a new one with piecework server migrate --data {settings.data}"
    )
