"""`piecework config`: what programs take from files, variables and defaults, and files that say it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import rich_click as click
from click.exceptions import Exit

from piecework.cli.failures import MISUSED, warn
from piecework.cli.options.connection import find_given
from piecework.cli.screen.display import Display, write_text
from piecework.configuration.checking import check_files, read_environment
from piecework.configuration.files import read_file, read_files
from piecework.configuration.keys import CLIENT, Section
from piecework.configuration.layers import configure, find_profiles
from piecework.configuration.places import ConfigError, find_places
from piecework.configuration.sections import Value
from piecework.memory import import_lastingly
from piecework.protocol.secrets import MASK

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
_SECTIONS = {"server": "piecework.server.configuration", "agent": "piecework.worker_agent.config.configuration"}
"""Modules with the sections of programs; to read their settings, none of their libraries is needed."""


@click.group
def config() -> None:
    """Show settings and where they come from, and make and check files of them."""


@config.command()
@click.option("--server", is_flag=True, help="Show what `piecework server run` takes.")
@click.option("--agent", is_flag=True, help="Show what `worker-agent run` takes.")
@click.option("--client", is_flag=True, help="Show what commands and Python clients take, and profiles.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@click.pass_context
def show(context: click.Context, /, as_json: bool, **wanted: bool) -> None:
    """Show all settings, each with its value and where that comes from; secrets are not shown.

    Without an option it shows those of all programs. What stands before the command counts, such as --profile.
    """
    given = {name: value for name, value in find_given(context, {}).items() if value}
    display, document, warnings = Display(as_json=as_json), {}, dict[str, None]()
    for name in [each for each, chosen in wanted.items() if chosen] or list(wanted):
        rows = list(_show_section(_get_section(name), given, warnings))
        document[name] = {key: {"value": value, "from": source} for key, value, source in rows}
        if not as_json:
            _print(display, name, rows)
        if name == CLIENT.name:
            document["profiles"] = dict(_show_profiles(display))
    for line in warnings:
        warn(line)
    if as_json:
        display.document(document)


def _get_section(name: str) -> Section:
    section: Section = CLIENT if name == CLIENT.name else import_lastingly(_SECTIONS[name]).SECTION
    return section


def _show_section(
    section: Section, given: Mapping[str, Any], warnings: dict[str, None]
) -> Iterator[tuple[str, Any, str]]:
    """Yield each key of a section with its value and where it comes from."""
    options = given if section.connects else {}
    configured = configure(section, url=options.get("url"), profile=options.get("profile"), runs_commands=False)
    warnings.update(dict.fromkeys(configured.warnings))
    values = read_environment(section, configured)
    for name, key in section.keys.items():
        if name in options:
            yield name, _present(options[name], secret=key.secret), f"option --{name}"
        else:
            yield name, _present(values[name], secret=key.secret), configured.find_source(key.variable)


def _show_profiles(display: Display) -> Iterator[tuple[str, Any]]:
    for name, values in find_profiles().items():
        rows = [
            (key, _present(value.text or value.source, secret=key == "token"), _tell_place(value))
            for key, value in values.items()
        ]
        if not display.as_json:
            _print(display, f"profiles.{name}", rows)
        yield name, {key: {"value": value, "from": source} for key, value, source in rows}


def _tell_place(value: Value) -> str:
    """Return where a profile's value comes from; the profile itself is told already."""
    return value._replace(section="").source


def _present(value: Any, *, secret: bool) -> Any:
    """Return a value as JSON can have it; nothing of a secret."""
    if secret and value:
        return MASK
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _print(display: Display, name: str, rows: list[tuple[str, Any, str]]) -> None:
    display.line(f"[{name}]")
    display.table(["key", "value", "from"], [(key, _write(value), source) for key, value, source in rows])
    display.line("")


def _write(value: Any) -> str:
    if value in (None, "", []):
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(value) if isinstance(value, list) else str(value)


@config.command("path")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
def path_(as_json: bool) -> None:
    """List where files are looked for, and which of them are there. What a later one says counts."""
    found = []
    for path in find_places(os.environ):
        state = "there" if path.exists() else "not there"
        if path.exists() and not os.access(path, os.R_OK):
            state = "there, but this user may not read it"
        found.append({"path": str(path), "state": state})
    display = Display(as_json=as_json)
    if as_json:
        display.document(found)
    else:
        display.table(["path", "state"], [tuple(each.values()) for each in found])


@config.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
def init(file: Path | None) -> None:
    """Write an example with comments to FILE, or else where the user's own is looked for, with mode 600.

    A file that is there is not replaced.
    """
    place = file or find_places(os.environ)[-1]
    content = files("piecework").joinpath("templates", "piecework.toml").read_bytes()
    place.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    try:
        opened = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    except FileExistsError:
        raise click.ClickException(f"{place} is there already, and is not replaced") from None
    try:
        with os.fdopen(opened, "wb") as written:
            written.write(content)
    except OSError:
        with suppress(OSError):
            place.unlink()
        raise
    write_text(f"{place}\n")


@config.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
def check(file: Path | None) -> None:
    """Say what is wrong with FILE, for all programs; without one, with all files that are looked for.

    Exit code 2 when something is.
    """
    try:
        found = [read_file(file)] if file else read_files(os.environ)
        warnings = check_files(found, [CLIENT, *map(_get_section, _SECTIONS)])
    except ConfigError as error:
        for line in error.args:
            warn(line)
        raise Exit(MISUSED) from error
    for line in warnings:
        warn(line)
    for each in found:
        write_text(f"{each.path} is well\n")
    if not found:
        write_text("there is no configuration file; `piecework config path` says where they are looked for\n")
