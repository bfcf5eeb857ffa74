"""What is in configuration files, before anybody knows its keys."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from piecework.configuration import places
from piecework.configuration.places import VARIABLE, ConfigError, find_places, is_there

LARGEST_BYTES = 1024 * 1024
SECRETS = frozenset({
    "token", "database_url", "functions_token", "reverse_proxy_token", "redis_pwd", "couchbase_user",
    "couchbase_pwd",
})  # fmt: skip
"""The keys of all sections whose values are secrets."""


class ConfigFile(NamedTuple):
    """A file that was read."""

    path: Path
    tables: Mapping[str, Any]
    exposure: str = ""
    """Who may read or change it that should not, and what to do; "" when nobody."""
    is_open: bool = False
    """Whether others than its owner, and root, may change it."""

    @property
    def profiles(self) -> Mapping[str, Any]:
        """Its profiles by name."""
        found = self.tables.get("profiles", {})
        return found if isinstance(found, dict) else {}


def read_files(environ: Mapping[str, str], *, shared: bool = False) -> list[ConfigFile]:
    """Read the files that are there. Raises ConfigError for one that cannot be read.

    The one that PIECEWORK_CONFIG names must be there.

    ``shared``: a file of the system that this user may not read is for others, and left out.
    """
    named = bool(environ.get(VARIABLE))
    return [
        read_file(path)
        for path in find_places(environ)
        if named or (is_there(path) and not (shared and path == places.SYSTEM and not os.access(path, os.R_OK)))
    ]


def read_file(path: Path) -> ConfigFile:
    """Read a file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            info = os.fstat(file.fileno())
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        named = f" ({VARIABLE} names it)" if os.environ.get(VARIABLE) == str(path) else ""
        raise ConfigError(f"{path}{named} cannot be read: {error.strerror}") from error
    if len(content) > LARGEST_BYTES:
        raise ConfigError(f"{path} is larger than a configuration file may be, {LARGEST_BYTES} bytes")
    import tomllib  # noqa: PLC0415  # most who start a command have no file

    try:
        tables = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else error
        raise ConfigError(f"{path} is no TOML: {reason}") from error
    is_open = bool(info.st_mode & (stat.S_IWOTH | stat.S_IWGRP)) or info.st_uid not in {0, _own_id(info)}
    return ConfigFile(path, tables, find_exposure(path, info, secret=has_secrets(tables)), is_open)


def _own_id(info: os.stat_result) -> int:
    """Return the id of this user; where users have none, the owner's."""
    return os.geteuid() if hasattr(os, "geteuid") else info.st_uid


def has_secrets(tables: Mapping[str, Any]) -> bool:
    """Tell whether a secret stands in a file."""
    return any(
        has_secrets(value) if isinstance(value, dict) else name in SECRETS for name, value in tables.items()
    )


def find_exposure(path: Path, info: os.stat_result, *, secret: bool) -> str:
    """Return who may read or change a file that should not, and what to do; "" when nobody.

    A group may read what root owns: so services get what they may know.
    """
    if not stat.S_ISREG(info.st_mode):
        return ""
    if info.st_mode & stat.S_IWOTH:
        return f"everybody may change {path}: chmod 600 {path}"
    readers = stat.S_IROTH | (stat.S_IRGRP | stat.S_IWGRP if info.st_uid else 0)
    return (
        f"others may read {path}, which has secrets: chmod 600 {path}" if secret and info.st_mode & readers else ""
    )
