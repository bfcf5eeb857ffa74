"""Whole settings that files give, as programs would have them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from piecework.configuration.files import ConfigFile
from piecework.configuration.keys import CONNECTION, Section
from piecework.configuration.layers import Configured, lay_together
from piecework.configuration.places import ConfigError
from piecework.configuration.sections import Findings, open_secret, read_profile


def read_environment(section: Section, configured: Configured) -> Mapping[str, Any]:
    """Return the value of each key of a section. Raises ConfigError with all that is wrong."""
    try:
        return section.read(configured.environ)
    except ValueError as error:
        raise ConfigError(*configured.name_places(error.args, section)) from error


def check_files(files: Sequence[ConfigFile], sections: Iterable[Section]) -> Sequence[str]:
    """Return what people should know of files. Raises ConfigError with all that is wrong with them."""
    findings = Findings(runs_commands=False)
    for section in sections:
        configured = lay_together(section, files, {}, findings)
        try:
            read_environment(section, configured)
        except ConfigError as error:
            findings.problems += error.args
    for file in files:
        for name in file.profiles:
            for key, value in read_profile(file, name, findings).items():
                open_secret(value, CONNECTION[key], findings)
    findings.problems[:] = dict.fromkeys(findings.problems)  # programs have some in common
    findings.close()
    return list(dict.fromkeys(findings.warnings))
