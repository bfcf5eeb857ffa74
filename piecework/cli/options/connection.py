"""The options that say which server a command talks to, before it or behind it."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

F = TypeVar("F", bound=Callable[..., Any])


def _offer_profiles(_context: click.Context, _parameter: click.Parameter, word: str) -> list[str]:
    from piecework.configuration.layers import find_profiles  # noqa: PLC0415  # commands start faster without it

    # Whatever is wrong, a shell in the middle of a line is no place to say so.
    with suppress(ValueError):
        return [name for name in find_profiles() if name.startswith(word)]
    return []


_OPTIONS = (
    click.option(
        "--url",
        metavar="URL",
        help="The server's URL (PIECEWORK_URL), or several with commas between; http://127.0.0.1:8000 else.",
    ),
    click.option("--token", metavar="TOKEN", help="The token to show it (PIECEWORK_TOKEN)."),
    click.option(
        "--ca",
        metavar="FILE",
        type=click.Path(exists=True, path_type=Path),
        help="Trust the certificates in this file or directory, instead of the system's (PIECEWORK_CA).",
    ),
    click.option(
        "--profile",
        metavar="NAME",
        shell_complete=_offer_profiles,
        help="Use the server of this profile in a configuration file (PIECEWORK_PROFILE).",
    ),
)
NAMES = ("url", "token", "ca", "profile")


def connection_options(command: F) -> F:
    """Add ``--url``, ``--token``, ``--ca`` and ``--profile``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def find_given(context: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """Return what was given of these options, those behind the command before those in front of it."""
    root = context.find_root().params
    return {name: options.pop(name, None) or root.get(name) for name in NAMES}
