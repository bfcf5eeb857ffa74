"""The section of a configuration file that the server reads."""

from collections.abc import Mapping
from dataclasses import Field, fields
from functools import partial
from pathlib import Path
from typing import Any

from piecework.configuration.keys import Key, Kind, Section
from piecework.server.settings import PREFIX, Settings, read_setting

_KINDS = {bool: Kind.FLAG, int: Kind.WHOLE, float: Kind.NUMBER, str: Kind.TEXT, type(Path()): Kind.PATH}
_OTHERS = {"routes_file": Kind.PATH, "webhook_private": Kind.TEXTS}
"""What is a text in the settings, and more than that in a file."""


def _make_key(each: Field[Any]) -> Key:
    return Key(
        PREFIX + each.name.upper(),
        _OTHERS.get(each.name, _KINDS[type(each.default)]),
        partial(read_setting, default=each.default),
        secret=not each.repr,
    )


def read_values(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the value of each key in an environment. Raises SettingsError."""
    return vars(Settings(**Settings.from_env(environ)))


SECTION = Section("server", {each.name: _make_key(each) for each in fields(Settings)}, read_values)
