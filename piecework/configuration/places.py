"""Where configuration files are looked for. Each start of a command asks: importing and asking are quick."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE, PROFILE = "PIECEWORK_CONFIG", "PIECEWORK_PROFILE"
NAME = "piecework.toml"
SYSTEM = Path("/etc/piecework") / NAME
USUAL_URL = "http://127.0.0.1:8000"


class ConfigError(ValueError):
    """What a configuration file says cannot be used; each argument is a line about one problem, with its file."""

    def __str__(self) -> str:
        return "; ".join(self.args)


def has_configuration(environ: Mapping[str, str]) -> bool:
    """Tell whether there is any file to read, or a profile to look for."""
    return bool(environ.get(VARIABLE) or environ.get(PROFILE)) or any(map(is_there, find_places(environ)))


def find_user_place(environ: Mapping[str, str]) -> Path | None:
    """Return where a user's own file is looked for; None for a user without a home."""
    if sys.platform in {"darwin", "win32"}:
        import platformdirs  # noqa: PLC0415  # slow to import, and each command would wait for it

        return platformdirs.user_config_path("piecework", appauthor=False) / NAME
    base = environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):  # noqa: PTH117  # Path is slower, and this is for each start of a command
        base = os.path.expanduser("~/.config")  # noqa: PTH111
    return Path(base, "piecework", NAME) if os.path.isabs(base) else None  # noqa: PTH117


def find_places(environ: Mapping[str, str]) -> list[Path]:
    """Return where files are looked for; what a later one says counts."""
    if named := environ.get(VARIABLE):
        return [Path(named)]
    user = find_user_place(environ)
    return [SYSTEM, user] if user else [SYSTEM]


def is_there(path: Path) -> bool:
    """Tell whether there is a file that this user may know of."""
    try:
        os.stat(path)  # noqa: PTH116  # a third of what Path takes
    except OSError:
        return False
    return True
