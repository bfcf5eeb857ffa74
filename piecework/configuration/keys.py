"""The sections of a configuration file and their keys: which there are, and what their values may be."""

import math
import os
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from piecework.configuration.places import PROFILE, USUAL_URL
from piecework.http.urls import check_token, read_urls

URL, TOKEN, CA = "PIECEWORK_URL", "PIECEWORK_TOKEN", "PIECEWORK_CA"


class Kind(Enum):
    """What the value of a key is, in words."""

    TEXT = "a text"
    URLS = "a text, or a list of texts"
    PATH = "the name of a file or directory, as a text"
    FLAG = "true or false"
    WHOLE = "a whole number"
    NUMBER = "a number"
    DURATION = "a number of seconds, or a text such as '5m'"
    TEXTS = "a list of texts"
    PATHS = "a list of names of directories, as texts"


class Key(NamedTuple):
    """A key: the variable whose default it is, and what its value may be."""

    variable: str
    kind: Kind
    read: Callable[[str], Any] = str
    """Reads the variable's text. Raises ValueError for one that cannot be; no text of a secret is repeated."""
    secret: bool = False
    """It is never shown; and KEY_file may name a file that has it."""

    def write(self, value: object, folder: Path) -> str:
        """Return a value as the text of the variable; names of files are those of ``folder``, or absolute.

        Raises ValueError that says what the value must be.
        """
        text = _WRITERS[self.kind](value, folder)
        if text is None:
            raise ValueError(f"must be {self.kind.value}")
        if text:
            self.read(text)
        return text


class Section(NamedTuple):
    """A section of a file: what one program takes from it."""

    name: str
    keys: Mapping[str, Key]
    read: Callable[[Mapping[str, str]], Mapping[str, Any]]
    """Returns the value of each key in an environment; raises ValueError, with an argument for each problem."""

    @property
    def connects(self) -> bool:
        """Whether a profile may say which server this program uses."""
        return "profile" in self.keys


CONNECTION = {
    "url": Key(URL, Kind.URLS, read_urls),
    "token": Key(TOKEN, Kind.TEXT, check_token, secret=True),
    "ca": Key(CA, Kind.PATH),
}
"""What leads to a server: all keys that a profile may have."""
CONNECTION_AND_PROFILE = CONNECTION | {"profile": Key(PROFILE, Kind.TEXT)}


def read_client(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return what an environment says of the server that clients use."""
    found = {name: environ.get(key.variable) or None for name, key in CONNECTION_AND_PROFILE.items()}
    return found | {"url": found["url"] or USUAL_URL}


CLIENT = Section("client", CONNECTION_AND_PROFILE, read_client)


def _write_text(value: object, folder: Path) -> str | None:
    del folder
    if not isinstance(value, str):
        return None
    if any(letter < " " or letter == "\x7f" for letter in value):
        raise ValueError("must not have line breaks or other control characters")
    return value


def _write_urls(value: object, folder: Path) -> str | None:
    return _write_text(value, folder) if isinstance(value, str) else _write_list(_write_text, value, folder)


def _write_path(value: object, folder: Path) -> str | None:
    text = _write_text(value, folder)
    return str(folder / os.path.expanduser(text)) if text else text  # noqa: PTH111  # Path raises without a home


def _write_flag(value: object, _: Path) -> str | None:
    return str(value).lower() if isinstance(value, bool) else None


def _write_whole(value: object, _: Path) -> str | None:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _write_number(value: object, folder: Path) -> str | None:
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else None
    return _write_whole(value, folder)


def _write_duration(value: object, folder: Path) -> str | None:
    return _write_text(value, folder) if isinstance(value, str) else _write_number(value, folder)


def _write_list(write: Callable[[object, Path], str | None], value: object, folder: Path) -> str | None:
    if not isinstance(value, list):
        return None
    texts = [write(each, folder) for each in value]
    if any("," in (text or "") for text in texts):
        raise ValueError("must not have a comma in an entry")
    return None if None in texts else ",".join(filter(None, texts))


_WRITERS: dict[Kind, Callable[[object, Path], str | None]] = {
    Kind.TEXT: _write_text,
    Kind.URLS: _write_urls,
    Kind.PATH: _write_path,
    Kind.FLAG: _write_flag,
    Kind.WHOLE: _write_whole,
    Kind.NUMBER: _write_number,
    Kind.DURATION: _write_duration,
    Kind.TEXTS: lambda value, folder: _write_list(_write_text, value, folder),
    Kind.PATHS: lambda value, folder: _write_list(_write_path, value, folder),
}
