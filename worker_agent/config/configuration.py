"""The section of a configuration file that the agent reads."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from piecework.configuration.keys import CONNECTION_AND_PROFILE, Key, Kind, Section
from piecework.configuration.places import PROFILE
from piecework.text.durations import parse_duration
from piecework.variables import PREFIX
from piecework.worker_agent.config.setting_texts import MIB, read_flag, read_list, read_mb
from piecework.worker_agent.config.settings import VARIABLES, Settings

_KINDS: dict[Callable[[str], Any], Kind] = {
    str: Kind.TEXT,
    Path: Kind.PATH,
    int: Kind.WHOLE,
    read_mb: Kind.WHOLE,
    parse_duration: Kind.DURATION,
    read_flag: Kind.FLAG,
    read_list: Kind.TEXTS,
}
_PATHS = {"allow_files": Kind.PATH, "allow_dir": Kind.PATHS}
"""What is a text in the settings, and names files."""
_SECRETS = frozenset(each.name for each in fields(Settings) if not each.repr)


def _make_keys() -> dict[str, Key]:
    keys = dict(CONNECTION_AND_PROFILE)
    for variable, (setting, read) in VARIABLES.items():
        name = variable.removeprefix(PREFIX).removeprefix("WORKER_").lower()
        kind = _PATHS.get(setting) or _KINDS[read]
        keys.setdefault(name, Key(variable, kind, read, secret=setting in _SECRETS))
    return keys


def read_values(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the value of each key in an environment. Raises SettingsError."""
    settings = vars(Settings(**Settings.from_env(environ)))
    found: dict[str, Any] = {"profile": environ.get(PROFILE) or None}
    for name, key in SECTION.keys.items():
        if key.variable in VARIABLES:
            value = settings[VARIABLES[key.variable][0]]
            found[name] = value // MIB if name.endswith("_mb") else value
    return found


SECTION = Section("agent", _make_keys(), read_values)
