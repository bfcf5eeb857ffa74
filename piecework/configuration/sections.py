"""What a section of a file says, checked key by key."""

import os
import shlex
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from piecework.configuration.files import LARGEST_BYTES, ConfigFile, find_exposure
from piecework.configuration.keys import CONNECTION, TOKEN, Key, Section
from piecework.configuration.places import ConfigError
from piecework.configuration.tokens import open_token_command, open_token_file
from piecework.variables import AGENT_NAMES, SERVER_NAMES

PROGRAMS = ("server", "agent", "client")
NAMES = (*PROGRAMS, "profiles")
TOKEN_COMMAND = "token_command"  # noqa: S105  # the name of a key
OF_FILE = "_file"
"""What a key ends with that names the file of a secret."""


class Value(NamedTuple):
    """A value of a file, as its variable would have it."""

    text: str
    file: Path
    place: str
    """Section and key, such as ``[server] port``."""
    section: str
    secret_file: Path | None = None
    """The file that has the value; ``open_secret`` gets it."""
    command: tuple[str, ...] = ()
    """What prints the value; ``open_secret`` gets it."""

    @property
    def source(self) -> str:
        """Where the value comes from, in words; of a command only its name, for arguments may be secret."""
        profile = self.section.removeprefix("profiles.")
        place = f"file {self.file}" if profile == self.section else f"profile {profile} (file {self.file})"
        if self.command:
            return f"{place}, from the command {self.command[0]}"
        return f"{place}, from the file {self.secret_file}" if self.secret_file else place


class Findings:
    """What is wrong with files, and what people should know of them."""

    def __init__(self, *, runs_commands: bool = True) -> None:
        """``runs_commands``: secrets that commands print are wanted."""
        self.runs_commands = runs_commands
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def close(self) -> None:
        """Raise ConfigError with all problems, if there are any."""
        if self.problems:
            raise ConfigError(*self.problems)


def check_outline(file: ConfigFile, findings: Findings) -> None:
    """Note what stands in no section that there is."""
    for name, value in file.tables.items():
        if name not in NAMES:
            problem = f"has no section {name!r}" if isinstance(value, dict) else f"{name} stands in no section"
            findings.problems.append(
                f"{file.path}: {problem}: {_suggest(name, NAMES) or 'there are ' + ', '.join(NAMES)}"
            )
        elif not isinstance(value, dict):
            findings.problems.append(f"{file.path}: {name} must be a section, with a line [{name}]")
    for name, value in file.profiles.items():
        if not isinstance(value, dict):
            findings.problems.append(
                f"{file.path}: [profiles] {name} must be a section, with a line [profiles.NAME]"
            )


def read_section(file: ConfigFile, section: Section, findings: Findings) -> dict[str, Value]:
    """Return the values of a section, by the key that each is for; none when the file has no such section."""
    table = file.tables.get(section.name, {})
    return _read_table(file, section.name, section.keys, table, findings) if isinstance(table, dict) else {}


def read_profile(file: ConfigFile, name: str, findings: Findings) -> dict[str, Value]:
    """Return the values of a profile, as ``read_section`` does."""
    table = file.profiles.get(name, {})
    return _read_table(file, f"profiles.{name}", CONNECTION, table, findings) if isinstance(table, dict) else {}


def _read_table(
    file: ConfigFile, section: str, keys: Mapping[str, Key], table: Mapping[str, Any], findings: Findings
) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, value in table.items():
        place = f"[{section}] {name}"
        of_file = keys.get(name.removesuffix(OF_FILE))
        try:
            if key := keys.get(name):
                found[name] = Value(key.write(value, file.path.parent), file.path, place, section)
            elif name.endswith(OF_FILE) and of_file and of_file.secret:
                path = _read_file_name(value, file.path.parent)
                found[name.removesuffix(OF_FILE)] = Value("", file.path, place, section, path)
                if name.removesuffix(OF_FILE) in table:
                    raise ValueError(f"cannot stand beside {name.removesuffix(OF_FILE)}")
            elif name == TOKEN_COMMAND and "token" in keys:
                found["token"] = Value("", file.path, place, section, command=_read_command(value, file))
                if beside := table.keys() & {"token", f"token{OF_FILE}"}:
                    raise ValueError(f"cannot stand beside {min(beside)}")
            else:
                findings.problems.append(f"{file.path}: {place} is no key{_suggest_key(name, section, keys)}")
        except ValueError as error:
            findings.problems.append(f"{file.path}: {place}: {error}")
    return found


def _read_command(value: object, file: ConfigFile) -> tuple[str, ...]:
    """Return the words of a command. Raises ValueError."""
    words = shlex.split(value) if isinstance(value, str) else value
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        raise ValueError("must be a list of texts, a command and its arguments, or one text; no shell reads it")
    if file.is_open:
        raise ValueError(f"a command of a file that others may change is not run: chmod 600 {file.path}")
    return tuple(words)


def _read_file_name(value: object, folder: Path) -> Path:
    if not isinstance(value, str) or not value:
        raise ValueError("must be the name of a file, as a text")
    return folder / os.path.expanduser(value)  # noqa: PTH111  # Path raises without a home


def _suggest_key(name: str, section: str, keys: Mapping[str, Key]) -> str:
    """Say which key may be meant, here or in another section."""
    plain = name.lower().removeprefix("piecework_").removeprefix("worker_").replace("-", "_")
    homes = {"server": SERVER_NAMES, "agent": AGENT_NAMES}
    home = next((each for each, names in homes.items() if each != section and plain.upper() in names), None)
    if home and plain not in keys:
        return f": it belongs into [{home}]"
    meant = _suggest(plain, [*keys, *(f"{each}{OF_FILE}" for each, key in keys.items() if key.secret)])
    return f": {meant}" if meant else ""


def _suggest(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else ""


def open_secret(value: Value, key: Key, findings: Findings) -> Value:
    """Return a value with its text, also when that is in a file of its own."""
    path = value.secret_file
    if value.command:
        return _open_command(value, findings)
    if path is None:
        return value
    try:
        if key.variable == TOKEN:
            token, exposure = open_token_file(path)
            findings.warnings += [exposure] * bool(exposure)
            return value._replace(text=token)
        with path.open("rb") as file:
            text = file.read(LARGEST_BYTES).decode().strip()
            exposure = find_exposure(path, os.fstat(file.fileno()), secret=True)
        if not text:
            raise ValueError(f"{path} is empty")
        key.read(text)
    except OSError as error:
        findings.problems.append(f"{value.file}: {value.place}: {path} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        findings.problems.append(f"{value.file}: {value.place}: {path} is not UTF-8")
    except ValueError as error:
        findings.problems.append(f"{value.file}: {value.place}: {error}")
    else:
        findings.warnings += [exposure] * bool(exposure)
        return value._replace(text=text)
    return value


def _open_command(value: Value, findings: Findings) -> Value:
    """Return a value with what its command prints."""
    if not findings.runs_commands:
        return value._replace(text="printed-by-a-command")
    try:
        return value._replace(text=open_token_command(value.command))
    except ValueError as error:
        findings.problems.append(f"{value.file}: {value.place}: {error}")
        return value
