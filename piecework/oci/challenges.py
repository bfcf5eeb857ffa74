"""What a registry that wants a login says about it: the header ``WWW-Authenticate`` (RFC 9110, section 11)."""

import re
from typing import NamedTuple

_SCHEME = re.compile(r"[\s,]*([A-Za-z][A-Za-z0-9-]*)(?:\s+|$|(?=,))")
_PARAMETER = re.compile(r'[\s,]*([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]*))')
_QUOTED = re.compile(r"\\(.)")
CHALLENGES_MAX = 8
HEADER_MAX_CHARS = 8192


class Challenge(NamedTuple):
    """One way to log in."""

    scheme: str
    """In lower case: ``basic`` or ``bearer``, or one that nobody knows."""
    parameters: dict[str, str]
    """By names in lower case."""


def read_challenges(header: str) -> list[Challenge]:
    """Return the ways to log in; what is no challenge ends the list."""
    text, found, at = header[:HEADER_MAX_CHARS], list[Challenge](), 0
    while len(found) < CHALLENGES_MAX and (scheme := _SCHEME.match(text, at)):
        at = scheme.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(text, at):
            name, quoted, plain = parameter.groups()
            parameters.setdefault(name.lower(), plain if quoted is None else _QUOTED.sub(r"\1", quoted))
            at = parameter.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return found
