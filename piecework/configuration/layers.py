"""Files, profile, environment and options on top of each other."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from piecework.configuration.files import ConfigFile, read_files
from piecework.configuration.keys import CLIENT, CONNECTION, URL, Section
from piecework.configuration.places import PROFILE, USUAL_URL, find_places
from piecework.configuration.sections import (
    Findings,
    Value,
    check_outline,
    open_secret,
    read_profile,
    read_section,
)
from piecework.configuration.tokens import TOKEN_FILE, RenewedToken, add_token_of_file

OPTION = "--profile"
Values = dict[str, Value]
"""Values by their keys."""


class Configured(NamedTuple):
    """The environment of a program, with what files say where it says nothing."""

    environ: Mapping[str, str]
    values: Mapping[str, Value]
    """What of it comes from files, by its variable."""
    warnings: Sequence[str] = ()
    """What people should know of the files."""

    def find_source(self, variable: str) -> str:
        """Return where a variable's value comes from, in words."""
        if variable in self.values:
            return self.values[variable].source
        if isinstance(self.environ.get(variable), RenewedToken):
            return f"environment {TOKEN_FILE} ({self.environ[TOKEN_FILE]})"
        return f"environment {variable}" if self.environ.get(variable, "").strip() else "default"

    def name_places(self, problems: Iterable[str], section: Section) -> list[str]:
        """Return problems with a section's settings, each with the place in a file that it comes from."""
        alone = {
            problem: f"{value.file}: {value.place}: {problem}"
            for variable, value in self.values.items()
            for problem in _find_problems(section, {variable: value.text})
        }
        return [alone.get(problem, problem) for problem in problems]


def _find_problems(section: Section, environ: Mapping[str, str]) -> Sequence[str]:
    try:
        section.read(environ)
    except ValueError as error:
        return error.args
    return ()


def configure(
    section: Section,
    environ: Mapping[str, str] | None = None,
    *,
    url: str | None = None,
    profile: str | None = None,
    runs_commands: bool = True,
) -> Configured:
    """Return the environment of a program with the defaults that files have for it.

    ``url`` and ``profile`` are those of options. A profile that an option names counts before the environment, any
    other behind it. Token and certificates of a file are for the URL that stands beside them: with another one
    they are left out; there may be several in both. Without ``runs_commands`` a token that a command would print
    is some text. Raises ConfigError for files that cannot be used.
    """
    environ = os.environ if environ is None else environ
    files = read_files(environ, shared=section is CLIENT)
    findings = Findings(runs_commands=runs_commands)
    found = lay_together(section, files, environ, findings, url=url, profile=profile)
    findings.close()
    return found


def lay_together(
    section: Section,
    files: Sequence[ConfigFile],
    environ: Mapping[str, str],
    findings: Findings,
    *,
    url: str | None = None,
    profile: str | None = None,
) -> Configured:
    """Return the environment as ``configure`` does, with what can be used of files; the rest is noted."""
    if section.connects:
        environ = _add_token(environ, findings)
    wanted = profile or (section.connects and environ.get(PROFILE))
    if not files and not wanted:
        return Configured(environ, {}, findings.warnings)
    findings.warnings += filter(None, (file.exposure for file in files))
    values: Values = {}
    for file in files:
        check_outline(file, findings)
        _lay(values, read_section(file, section, findings))
    if section.connects:
        chosen = wanted or ("profile" in values and values["profile"].text) or ""
        by = OPTION if profile else PROFILE if wanted else f"{values['profile'].file}" if chosen else ""
        profiles = _read_profiles(files, findings)
        if chosen and (problem := _find_fault(chosen, profiles, files, environ)):
            findings.problems.append(f"{by}: {problem}")
        elif chosen:
            _lay(values, profiles[chosen])
    return _lay_environ(section, values, environ, findings, url, forced=bool(profile))


def _add_token(environ: Mapping[str, str], findings: Findings) -> Mapping[str, str]:
    """Return an environment with the token of the file that it names."""
    try:
        environ, exposure = add_token_of_file(environ)
    except ValueError as error:
        findings.problems.append(str(error))
    else:
        findings.warnings += [exposure] * bool(exposure)
    return environ


def _lay(values: Values, upper: Values) -> None:
    """Lay values over others. A URL covers the whole connection below it: a token is not for any server."""
    if "url" in upper:
        for name in CONNECTION:
            values.pop(name, None)
    values.update(upper)


def find_profiles(environ: Mapping[str, str] | None = None) -> dict[str, Values]:
    """Return what files say of each profile. Raises ConfigError."""
    findings = Findings(runs_commands=False)
    profiles = _read_profiles(read_files(os.environ if environ is None else environ, shared=True), findings)
    findings.close()
    return profiles


def _read_profiles(files: Sequence[ConfigFile], findings: Findings) -> dict[str, Values]:
    profiles: dict[str, Values] = {}
    for file in files:
        for name in file.profiles:
            _lay(profiles.setdefault(name, {}), read_profile(file, name, findings))
    return profiles


def _find_fault(
    name: str, profiles: Mapping[str, Values], files: Sequence[ConfigFile], environ: Mapping[str, str]
) -> str:
    """Say why a profile cannot be used; "" when it can."""
    if name in profiles:
        return "" if "url" in profiles[name] else f"[profiles.{name}] has no url"
    if profiles:
        there = f"there are {', '.join(sorted(profiles))}"
    elif files:
        there = f"{', '.join(str(file.path) for file in files)} has none"
    else:
        there = f"there is no file {' or '.join(map(str, find_places(environ)))}"
    return f"there is no profile {name!r}: {there}"


def _lay_environ(
    section: Section,
    values: Values,
    environ: Mapping[str, str],
    findings: Findings,
    url: str | None,
    *,
    forced: bool,
) -> Configured:
    """Lay the environment over values, or under the connection of a profile that is ``forced``."""
    environ = dict(environ)
    wanted = url or (environ.get(URL) if not forced else None) or ("url" in values and values["url"].text)
    if "url" in values and not _are_among(wanted or USUAL_URL, values["url"].text):
        for name in CONNECTION:
            values.pop(name, None)
    elif forced and "url" in values:
        elsewhere = not _are_among(values["url"].text, environ.pop(URL, "") or values["url"].text)
        for name, key in CONNECTION.items():
            if elsewhere or name in values:
                environ.pop(key.variable, None)
    used: dict[str, Value] = {}
    for name, value in values.items():
        key = section.keys[name]
        if environ.get(key.variable, "").strip():
            continue
        opened = open_secret(value, key, findings)
        if name == "ca" and not Path(opened.text).exists():
            findings.problems.append(f"{value.file}: {value.place}: there is no {opened.text}")
        if opened.text:
            environ[key.variable] = opened.text
            used[key.variable] = opened
    return Configured(environ, used, findings.warnings)


def _are_among(urls: str, others: str) -> bool:
    """Tell whether all URLs of a text are also in another one."""
    wanted, there = ({each.strip().rstrip("/") for each in text.split(",")} for text in (urls, others))
    return wanted <= there
